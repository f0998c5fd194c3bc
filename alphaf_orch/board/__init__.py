"""What goes on in the runs folder, watched: values for a terminal, and a local page that reads and changes nothing.

May import report and what stands below it.
Face: `state.Folder`, `serve.serve`.
"""
