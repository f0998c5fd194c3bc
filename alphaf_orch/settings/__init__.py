"""What the user said: config file, options and recipe keys, checked and frozen.

May import core and, of programs, the keys that children define; not inputs, which stands beside it.
Face: `config.RunConfig`, `options.Options`, `options.settings`, `keys.parse_set`, `merge.read_settings`.
"""
