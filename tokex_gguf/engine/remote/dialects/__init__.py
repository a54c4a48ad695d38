"""How the kinds of servers are asked, and how they answer. Pure: a dialect makes requests and sends nothing."""
