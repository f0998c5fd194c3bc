"""One run on several machines: the first plans, judges and records, the others do their part of its trainings.

They tell each other what they need to know by small files in the run's folder, which they share
(docs/several-nodes.md). May import the rest of `runs` but `runner`, which stands on it.
Face: `seats.here`, `seats.led`, `seats.refuse_unknown_seat`, `leader.Leader`, `follower.follow`.
"""
