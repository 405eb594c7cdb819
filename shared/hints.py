"""stub"""

HINT_TYPES = ("canny", "depth")
