"""The work itself: what to fetch, one object from byte 0 to done, many objects at once."""
