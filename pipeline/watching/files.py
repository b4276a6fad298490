"""Names of what an operator sees in the folder of a run or score pass."""

FOLDER = "live"
PAGE, STATUS = "index.html", "status.json"
POST_MORTEM = "session-"
"""How names of post-mortems begin: one per session."""
