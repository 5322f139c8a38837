"""Round the grader: put exports of platforms in place, write points for them, look for copies."""
