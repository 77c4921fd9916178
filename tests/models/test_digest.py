import torch

from gooseguard.models.digest import digest_module


def test_the_digest_is_of_names_shapes_and_values():
    module = torch.nn.Linear(2, 2)
    assert digest_module(module) == digest_module(module)
    same = torch.nn.Linear(2, 2)
    same.load_state_dict(module.state_dict())
    assert digest_module(same) == digest_module(module)
    others = [torch.nn.Linear(2, 2), torch.nn.Linear(2, 2, bias=False), torch.nn.Sequential(module)]
    others.append(torch.nn.Linear(2, 2).to(torch.bfloat16))
    assert len({digest_module(one) for one in (module, *others)}) == 5
