"""What a finished chain needs no more, and caches: listed with size and age, deleted only where that is asked for.

May import the rest of `runs` but `runner` and `launch`. Face: `needless.of_run`, `needless.everywhere`,
`remove.clean_run`, `caches.entries`, `caches.chosen`, `caches.drop`.
"""
