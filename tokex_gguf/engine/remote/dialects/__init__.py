"""The dialects of the kinds of servers. Pure: a dialect makes requests and sends nothing."""
