"""What makes the recorded runs in ``data/results``, and measures their speed."""
