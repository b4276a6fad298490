"""What the tests of progress are made of: time that they set, and a display that keeps what it is told."""


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


class Recorder:
    """Fulfils `Display`: keeps lines, and how each stage ended."""

    def __init__(self):
        self.lines, self.opened, self.ended = [], [], []

    def say(self, line):
        self.lines.append(line)

    def open(self, stage):
        self.opened.append(stage)

    def close(self, stage, *, is_whole):
        self.ended.append((stage.name, stage.done, is_whole))
