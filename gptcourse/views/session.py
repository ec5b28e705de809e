"""What several views look at together."""

from __future__ import annotations

import traitlets

from gptlib.config import GPTConfig


class SendableText(traitlets.Unicode):
    """A text that a page can get: half of a surrogate pair, which no message can carry, becomes
    the replacement character U+FFFD."""

    def validate(self, obj, value):
        text = super().validate(obj, value)
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class Session(traitlets.HasTraits):
    """A prompt, and the layer, the head and the token that are looked at.

    Views that are given the same session follow each other: choose another head in one of them,
    and the others show it too. Every view brings a session of its own, which another can share:

    >>> explorer = AttentionExplorer(model, tokenizer, "The cat sat")
    >>> microscope = AttentionMicroscope(model, tokenizer, session=explorer.session)

    A token of None is the last one, and so is a token beyond the end of a text. Setting `model`
    has those views look at another model of the same tokenizer; layer and head become the last ones
    where it has fewer.
    """

    prompt = SendableText()
    layer = traitlets.Int(0)
    head = traitlets.Int(0)
    token = traitlets.Int(None, allow_none=True)
    model = traitlets.Any(None, allow_none=True)     # None leaves each view its own

    def __init__(self, prompt: str = "", layer: int = 0, head: int = 0, token: int | None = None):
        super().__init__(prompt=prompt, layer=layer, head=head, token=token)

    def join(self, view: traitlets.HasTraits) -> None:
        """Keep the view's traits of these names equal to the session's from now on, and have it
        follow to another model."""
        for name in self.trait_names():
            if view.has_trait(name):
                traitlets.link((self, name), (view, name))
        self.observe(lambda change: view.follow_to(change["new"]), names="model")

    @traitlets.observe("model")
    def _keep_within_model(self, change) -> None:
        """Before the views look at it: what it lacks cannot be looked at."""
        if hasattr(change["new"], "config"):
            config = GPTConfig.of(change["new"].config)
            self.layer = min(self.layer, config.n_layers - 1)
            self.head = min(self.head, config.n_heads - 1)

    def __repr__(self) -> str:
        token = "the last token" if self.token is None else f"token {self.token}"
        return f"<Session: layer {self.layer}, head {self.head}, {token} of {self.prompt!r}>"
