"""Programs: what is done on a card, as small frozen states that any worker can take one step further.

`state` encodes and decodes them; `base` holds what they share.
"""
