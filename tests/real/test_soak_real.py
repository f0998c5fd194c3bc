"""The soak in small: a tiny chain that a fault ends four times comes to the end of the undisturbed one."""

from soak.soak import soak

# Another seed for more of them: `make soak`.
SEED = 20


def test_a_chain_that_faults_end_again_and_again_comes_to_the_undisturbed_end(tmp_path, warm_python):
    hits, wrong = soak(tmp_path / "soak", ("--model", "tiny"), 4, SEED, 4, str(warm_python))
    assert len(hits) == 4
    assert not wrong
