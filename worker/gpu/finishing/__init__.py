"""What happens to finished pictures before they become files: the safety checker and its effects."""
