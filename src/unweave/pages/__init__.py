"""Pages made of files: a frame, its parts, and the page of a run."""
