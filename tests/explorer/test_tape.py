"""A decoder's operations, written down and carried out again."""

import pytest
import torch

import unweave as uw
from unweave.explorer.tape import record, recorded


def test_the_tape_is_the_decoder():
    torch.manual_seed(0)
    net = torch.nn.Sequential(uw.nets.mlp([4, 9, 20]), uw.nets.deconv(20, (17, 18, 3)))
    z = torch.randn(6, 4)
    tape = recorded(net, [z])
    with torch.no_grad():
        torch.testing.assert_close(torch.cat([tape(row[None])[0] for row in z]), net(z))
    assert "convolution" in tape.operations
    parameters = sum(weight.numel() for weight in net.parameters())
    assert sum(values.numel() for values in tape.constants.values()) == parameters


def test_what_does_not_depend_on_the_codes_is_a_constant():
    shift = torch.arange(3.0)
    tape = recorded(lambda z: z + (shift * 2).exp(), [torch.zeros(2, 3)])
    (step,) = tape.steps
    (constant,) = tape.constants.values()
    assert step.name == "add"
    torch.testing.assert_close(constant, (shift * 2).exp())


def test_operations_that_depend_on_the_codes_are_refused():
    def forks(z):
        return z * 2 if z[0, 0] > 0 else z + 1

    with pytest.raises(ValueError, match="operations depend on its codes"):
        recorded(forks, [torch.tensor([[1.0], [-1.0]])])


def test_operations_have_several_results_and_change_tensors_in_place():
    def program(z):
        a, b = z.unbind(-1)
        found = torch.zeros(len(z), 3)
        found[:, 0] = a * b
        found[:, 1:] += 2
        return found

    z = torch.rand(4, 2)
    tape = recorded(program, [z])
    found = torch.cat([tape(row[None])[0] for row in z])
    torch.testing.assert_close(found, program(z))


def test_draws_are_inputs():
    mean = torch.tensor([1.0, 2.0])

    def program(x):
        torch.rand(3)  # which the result does not need
        return x + torch.distributions.Normal(mean, 3.0).rsample((len(x),))

    recording = record(program, [torch.rand(4, 2)])
    assert list(recording.tape.noise.values()) == ["standard Normal"]
    x, noise = torch.rand(4, 2), torch.randn(4, 2)
    torch.testing.assert_close(recording.tape(x, noise)[0], x + mean + 3 * noise)


def test_a_constant_decoder_is_refused():
    with pytest.raises(ValueError, match="does not depend on its codes"):
        recorded(lambda z: torch.ones(len(z), 3), [torch.rand(2, 2)])
