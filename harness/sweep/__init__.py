"""Many cells: which are done, each in a process of its own, and nothing lost whatever dies."""
