"""Every action of the table, defined: a file per noun.

Rules: a definition only reads parameters, words and calls; what an action does stands in its service. The words name
every parameter that matters, because they are what an approver signs.
"""
