"""Model repositories that are elsewhere: copied to this machine, kept up to date, and served from the copy.

    listing ─> keys: safe paths ─> plan: what is new, what is gone ─> download: parts ─> copy: whole models ─> scan
    storage    (with marks)        (against the copy's own marks)     (resumed)          (renamed into place)

`Remotes` is what the sources see: `synchronise` and `followed`. Only the supervisor has one; others see folders.
"""
