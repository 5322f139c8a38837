"""The instructor's side of the assignment: hand out, grade, return. Never handed out itself."""
