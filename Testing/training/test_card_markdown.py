from braintumorseg_training.card_markdown import card_markdown
from braintumorseg_training.export import draft_card


def page(**recipe):
    return card_markdown(draft_card(training={"steps": 5, "recipe": {"seed": 1, **recipe}}))


def test_what_a_run_started_from_is_said():
    digest = "ab" * 32
    assert f"\n\nStarted from the weights checkpoint.pt (SHA-256 `{digest}`).\n\n" in page(init=f"checkpoint.pt sha256 {digest}")
    assert "\n\nStarted from the weights other.pt.\n\n" in page(init="other.pt")
    assert "Started from" not in page(init="")
    assert "Started from" not in page()
