"""Every screen and its commands, declared once: keys, handlers, conditions, and texts for footer and help.

Key bindings, footer, help screen and the tables in the docs all come from here.
"""
