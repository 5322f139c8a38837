"""The book: its pages, and the scripts that execute and build it."""
