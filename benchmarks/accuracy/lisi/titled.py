"""Tables of Li-Si for a page: each says where the labels come from."""

from common.table import Table

SOURCE = "Labels: CHGNet v0.3.0, not density functional theory."


class Titled(Table):
    """A table with a title and a note, for a page."""

    def __init__(self, name, title, note, digits=2):
        super().__init__(digits=digits, quiet=True)
        self.name, self.title, self.note = name, title, note

    def page(self):
        """Return the title, the note and the table."""
        return f"### {self.title}\n\n{self.note} {SOURCE}\n\n{self.markdown()}\n"
