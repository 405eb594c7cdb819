"""What a client is told about optional models that this installation lacks."""

NO_TRANSLATOR = (
    "multi_lingual needs a translation model, and none is installed on this server: send the prompt in "
    "English with multi_lingual no, or ask the operator to set PRINTWORKS_TRANSLATOR."
)
NO_CHECKER = (
    "No safety checker is installed on this server, and it makes no unchecked pictures for requests that ask "
    "for one: send safety_checker no, or ask the operator to set PRINTWORKS_SAFETY_CHECKER."
)
UNCHECKED = "No safety checker is installed on this server: the pictures were not checked."
NOT_ENLARGED = "No upscaler is installed on this server: the pictures were enlarged by Lanczos."
