"""Every screen and its commands, declared once: keys, what they do, when it cannot be done, and how it is told.

Key bindings, footer, help screen and the tables in the docs all come from here.
"""
