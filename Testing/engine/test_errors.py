import braintumorseg.errors as errors
from braintumorseg.errors import BrainTumorSegError, GridMismatch, InputError


def test_an_error_is_one_line_with_its_fix_and_knows_its_kind():
    error = GridMismatch("flair is smaller\n than t1ce.", "Leave out --registered.")
    assert str(error) == "flair is smaller than t1ce. Leave out --registered."
    assert error.kind == "GridMismatch"
    assert isinstance(error, InputError)


def test_the_drawing_of_the_tree_names_every_error():
    for name in errors.__all__:
        assert issubclass(getattr(errors, name), BrainTumorSegError)
        assert name in errors.__doc__
