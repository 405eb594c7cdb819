"""The ways to cover a picture that the safety checker flags; the protocol's names, the default first."""

SAFETY_CHECKER_TYPES = ("sensitive_content_text", "blur", "pixelate", "black")
DEFAULT_SAFETY_CHECKER_TYPE = "sensitive_content_text"
