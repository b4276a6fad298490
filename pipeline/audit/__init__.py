"""People judge a sample of a release that its own digest has drawn, and a certificate says what that proves."""
