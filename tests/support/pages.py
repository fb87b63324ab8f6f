"""Pages as tests read them."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """A page as the tests read it: its elements with their attributes, and its text."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.words = [], []
        self.feed(html)
        self.text = " ".join(self.words)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.words.append(data.strip())

    def all(self, *tags):
        return [attributes for tag, attributes in self.elements if tag in tags]

    @property
    def sections(self):
        return [section["id"] for section in self.all("section")]
