"""What the files in deploy/ and helm/ say, held against the project and the real tools."""
