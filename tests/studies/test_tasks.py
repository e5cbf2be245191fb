"""What tells a task from another one: all that decides its result, and nothing else."""

import pickle
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydantic import Field

from budbreak import criteria
from budbreak.criteria import Magnitude
from budbreak.errors import StoreMismatch
from budbreak.recipes import load_recipe, sections
from budbreak.recipes.sections import Setup
from budbreak.studies import Place
from budbreak.studies.making import make_plan
from budbreak.studies.tasks import check_identity, dense_of, distinct, tasks_of
from small import MINE, small, write_module

PLACE = Place(Path("tasks"), None, 1)
RECIPES = sorted((Path(__file__).parent.parent.parent / "recipes").glob("*.toml"))


def tasks(changes=None, *, seed=0, place=PLACE, arm="host"):
    (pair,) = tasks_of(arm, small(changes).arms[0].setup, [seed], place)
    return pair


def names(changes=None, **more):
    """The identities of the dense training, and of the levels."""
    return tuple(task.identity for task in tasks(changes, **more))


GOLDEN = {
    "cifar10-cnn-channels count": "a429d3434291 d8e718255613",
    "cifar10-cnn-channels apoz": "7dc1da22b344 eaa2c3a12ff9",
    "cifar10-cnn-channels magnitude": "7dc1da22b344 ca8b10154804",
    "cifar10-cnn-channels taylor": "7dc1da22b344 bc09e88a3abd",
    "cifar10-cnn-channels random": "7dc1da22b344 0aa55c1f7448",
    "mnist-lenet5-channels count": "ac95093afc5a 67c78bc7f55a",
    "mnist-lenet5-channels apoz": "3845d5401230 216d2604944c",
    "mnist-lenet5-channels magnitude": "3845d5401230 3c029dcda6e2",
    "mnist-lenet5-channels taylor": "3845d5401230 def32078dc2e",
    "mnist-lenet5-channels random": "3845d5401230 2d1280655985",
    "cifar10-resnet20-official-code host": "3d53fd4ee1b9 0d1a75b9f37a",
    "cifar10-resnet20-official-code ap-lite": "3d53fd4ee1b9 35e944cc7798",
    "cifar10-resnet20-official-code ap-pro": "3d53fd4ee1b9 ea4fa3472fe7",
    "cifar10-resnet20-official-code host-split": "3d53fd4ee1b9 c76dc80cb558",
    "cifar10-resnet20-official-code host-retrain": "3d53fd4ee1b9 58f2f43ea1c8",
    "cifar10-resnet20-open-lth host": "73b536e36178 e13d0ae7537c",
    "cifar10-resnet20-open-lth ap-lite": "73b536e36178 65391beaa263",
    "cifar10-resnet20-open-lth ap-pro": "73b536e36178 a65bd82875f9",
    "cifar10-resnet20-open-lth host-split": "73b536e36178 88fd9e15648b",
    "cifar10-resnet20-open-lth host-retrain": "73b536e36178 c2989b1ad9c7",
    "cifar10-resnet20-paper host": "9ad98a87b6ca 90209fbfb783",
    "cifar10-resnet20-paper ap-lite": "9ad98a87b6ca f4bb349963f0",
    "cifar10-resnet20-paper ap-pro": "9ad98a87b6ca 149133f4b910",
    "cifar10-resnet20-paper host-split": "9ad98a87b6ca cf3688f9a150",
    "cifar10-resnet20-paper host-retrain": "9ad98a87b6ca 51ecb78ec8ad",
    "cifar10-resnet20-short host": "d2f65f6c73c8 accfa2073b2b",
    "cifar10-resnet20-short ap-lite": "d2f65f6c73c8 d7051b1a02d4",
    "digits-activation count-weights": "5297bab9a3c8 6a745d779a5a",
    "digits-activation units": "5297bab9a3c8 43ab830adca8",
    "digits-activation magnitude": "38b5d65a035f fbd67de39432",
    "digits-activation random": "38b5d65a035f 8ad73ff02d8c",
    "digits-hosts magnitude": "7fea16d311db 5231b5d189b2",
    "digits-hosts magnitude-ap": "7fea16d311db e75dabc2614d",
    "digits-hosts taylor": "7fea16d311db f23d1aa11ebe",
    "digits-hosts taylor-ap": "7fea16d311db de61003f19a8",
    "digits-hosts gradient": "7fea16d311db 30b0a1a6b1ca",
    "digits-hosts gradient-ap": "7fea16d311db a6e9b70153e7",
    "digits-hosts random": "7fea16d311db 888cfd99c963",
    "digits-hosts random-ap": "7fea16d311db ef90e0edd135",
    "digits-mlp host": "7fea16d311db 5231b5d189b2",
    "digits-mlp ap-lite": "7fea16d311db e75dabc2614d",
    "fashion-lenet300 host": "b93c5f01cefb ae01c679f61b",
    "fashion-lenet300 ap-lite": "b93c5f01cefb 3cf3ee6c99d3",
    "mnist-lenet300 host": "499b58a576f1 10ab53453c43",
    "mnist-lenet300 ap-lite": "499b58a576f1 6742d5336312",
    "mnist-lenet5 host": "7acea6affb5e 425d75735201",
    "mnist-lenet5 ap-lite": "7acea6affb5e 3e4a1631e0dc",
    "fashion-lenet300-hosts magnitude": "b93c5f01cefb ae01c679f61b",
    "fashion-lenet300-hosts magnitude-ap": "b93c5f01cefb 3cf3ee6c99d3",
    "fashion-lenet300-hosts layer-magnitude": "b93c5f01cefb c91f321a46e6",
    "fashion-lenet300-hosts layer-magnitude-ap": "b93c5f01cefb 9be54f157ba0",
    "fashion-lenet300-hosts taylor": "b93c5f01cefb 914ab430f9d1",
    "fashion-lenet300-hosts taylor-ap": "b93c5f01cefb b3c87ba9930c",
    "fashion-lenet300-hosts lamp": "b93c5f01cefb 1c23c6e4aa16",
    "fashion-lenet300-hosts lamp-ap": "b93c5f01cefb fdf3209ea23e",
    "fashion-lenet300-pro magnitude": "b93c5f01cefb ae01c679f61b",
    "fashion-lenet300-pro retrain": "b93c5f01cefb 2a99b06f626b",
    "fashion-lenet300-pro split": "b93c5f01cefb d8bdac7f5f2f",
    "fashion-lenet300-pro pro": "b93c5f01cefb 78f118347435",
    "mnist-bncnn-hosts magnitude": "e63ebc170c4f c69268d4b9c6",
    "mnist-bncnn-hosts magnitude-ap": "e63ebc170c4f 6a8cb8dc99c3",
    "mnist-bncnn-hosts lamp": "e63ebc170c4f b9a4df2d1d0c",
    "mnist-bncnn-hosts lamp-ap": "e63ebc170c4f 6b02ada1b97c",
    "mnist-bncnn-hosts taylor": "e63ebc170c4f 8840170f2105",
    "mnist-bncnn-hosts taylor-ap": "e63ebc170c4f c8099222fbf6",
    "mnist-lenet300-hosts magnitude": "499b58a576f1 10ab53453c43",
    "mnist-lenet300-hosts magnitude-ap": "499b58a576f1 6742d5336312",
    "mnist-lenet300-hosts layer-magnitude": "499b58a576f1 7a15790d0ac9",
    "mnist-lenet300-hosts layer-magnitude-ap": "499b58a576f1 ce658eaa02c2",
    "mnist-lenet300-hosts gradient": "499b58a576f1 2e8c673b49e8",
    "mnist-lenet300-hosts gradient-ap": "499b58a576f1 ce61d5c54862",
    "mnist-lenet300-hosts taylor": "499b58a576f1 2d1277de5385",
    "mnist-lenet300-hosts taylor-ap": "499b58a576f1 1ccc02a02c6c",
    "mnist-lenet300-hosts displacement": "499b58a576f1 b3bd7ae4eb66",
    "mnist-lenet300-hosts displacement-ap": "499b58a576f1 26a71967a63e",
    "mnist-lenet300-hosts lamp": "499b58a576f1 93fadf6d6a58",
    "mnist-lenet300-hosts lamp-ap": "499b58a576f1 458749157616",
    "mnist-lenet300-pro magnitude": "499b58a576f1 10ab53453c43",
    "mnist-lenet300-pro retrain": "499b58a576f1 a76cc63ef4b0",
    "mnist-lenet300-pro split": "499b58a576f1 d285d0652431",
    "mnist-lenet300-pro pro": "499b58a576f1 b8754c669581",
    "mnist-lenet5-hosts magnitude": "e5ac355503af 6533f5292763",
    "mnist-lenet5-hosts magnitude-ap": "e5ac355503af 28549dd1c814",
    "mnist-lenet5-hosts lamp": "e5ac355503af 63a4698d93c0",
    "mnist-lenet5-hosts lamp-ap": "e5ac355503af 0fbe3df6a88c",
    "mnist-lenet5-hosts taylor": "e5ac355503af e90afb1eadd1",
    "mnist-lenet5-hosts taylor-ap": "e5ac355503af f91b38e1ed03",
    "mnist-lenet300-ablation magnitude": "499b58a576f1 10ab53453c43",
    "mnist-lenet300-ablation ap": "499b58a576f1 6742d5336312",
    "mnist-lenet300-ablation positive": "499b58a576f1 a560a47005ef",
    "mnist-lenet300-ablation any-sign": "499b58a576f1 c749d9876b69",
    "mnist-lenet300-ablation most-moved": "499b58a576f1 095c2f526643",
    "mnist-lenet300-ablation smallest": "499b58a576f1 625a7b69f2f4",
    "mnist-lenet300-ablation at-random": "499b58a576f1 0e1dba16cf8f",
    "mnist-lenet300-ablation each-layer": "499b58a576f1 22825a95a5e7",
    "mnist-lenet300-ablation hidden": "499b58a576f1 a548c414d8ef",
    "mnist-lenet300-ablation hidden-scaled": "499b58a576f1 56960e27cab6",
    "mnist-lenet300-ablation first-layer": "499b58a576f1 86d7674208d0",
    "mnist-lenet300-ablation q1": "499b58a576f1 b4ba3832f544",
    "mnist-lenet300-ablation q3": "499b58a576f1 b3e031d4eb16",
    "mnist-lenet300-ablation q4": "499b58a576f1 eba177cadde7",
    "mnist-lenet300-ablation q5": "499b58a576f1 6dd69ae29b12",
    "mnist-lenet300-ablation before-host": "499b58a576f1 fa9235de207f",
    "mnist-lenet300-ablation alone": "499b58a576f1 2dd5eb59a8b9",
    "mnist-lenet300-ablation magnitude-no-rewind": "ea99b0efec67 fb31bd3ad480",
    "mnist-lenet300-ablation ap-no-rewind": "ea99b0efec67 6e24b2ea79ef",
    "mnist-lenet300-ablation magnitude-rate-rewind": "3138249c4e7d cbdb68c1830a",
    "mnist-lenet300-ablation ap-rate-rewind": "3138249c4e7d f184749c37e0",
    "mnist-lenet300-hosts wanda": "499b58a576f1 d655feb73aba",
    "mnist-lenet300-hosts wanda-ap": "499b58a576f1 f2c3a7174da2",
    "mnist-lenet300-hosts ria": "499b58a576f1 0fc0aeb0ef7f",
    "mnist-lenet300-hosts ria-ap": "499b58a576f1 0a9992e31587",
    "fashion-lenet300-hosts lookahead": "b93c5f01cefb f31769cea496",
    "fashion-lenet300-hosts lookahead-ap": "b93c5f01cefb 282a91400c69",
    "mnist-lenet300-hosts lookahead": "499b58a576f1 c8dee2da65f8",
    "mnist-lenet300-hosts lookahead-ap": "499b58a576f1 1700a61e9a44",
    "mnist-lenet300-hosts movement": "dd4011069c3d 55a91e9500f0",
    "mnist-lenet300-hosts movement-ap": "dd4011069c3d 420e7dba22f9",
    "mnist-lenet300-evidence magnitude": "499b58a576f1 10ab53453c43",
    "mnist-lenet300-evidence magnitude-ap": "499b58a576f1 6742d5336312",
    "mnist-lenet300-evidence magnitude-waker": "499b58a576f1 1424847d8a33",
    "mnist-lenet300-evidence magnitude-stripping": "499b58a576f1 30a989712136",
    "mnist-bncnn-evidence magnitude": "e63ebc170c4f c69268d4b9c6",
    "mnist-bncnn-evidence magnitude-ap": "e63ebc170c4f 6a8cb8dc99c3",
    "mnist-bncnn-evidence magnitude-waker": "e63ebc170c4f fd9e2028cc1b",
    "fashion-activation count-weights": "a9360867b5ba defa10246a1f",
    "fashion-activation units": "a9360867b5ba 4ecc38c53e78",
    "fashion-activation magnitude": "a18a7a91a0e6 f98b280e3523",
    "fashion-activation random": "a18a7a91a0e6 849dcfaee217",
    "fashion-activation magnitude-authors": "58758f73a9eb d7e198df94d9",
    "fashion-activation units-local": "645bc6ec89d6 5962d98c302f",
    "fashion-activation count-weights-local": "645bc6ec89d6 6908b6ec0213",
    "mnist-activation count-weights": "c22aa2c0e7fa 19dab4187a99",
    "mnist-activation units": "c22aa2c0e7fa a4c5782abe9d",
    "mnist-activation magnitude": "a443f23282c9 2e7a3157cc53",
    "mnist-activation random": "a443f23282c9 c8497fd139eb",
    "mnist-activation magnitude-authors": "ea6fc4c810cf 686d474bc548",
    "mnist-activation units-local": "6bd033ccd3f5 302f91977b01",
    "mnist-activation count-weights-local": "6bd033ccd3f5 bcb89403f3f1",
    "mnist-lenet5-operators relu@sparsity=0.9": "8b566fc2295c 179093313178 24327183311a",
    "mnist-lenet5-operators relu@sparsity=0.95": "8b566fc2295c c45fc13180f4 0fd7730a510c",
    "mnist-lenet5-operators relu@sparsity=0.97": "8b566fc2295c 5874572edb80 bccd4774f713",
    "mnist-lenet5-operators relu@sparsity=0.99": "8b566fc2295c 526d521c9523 20bba130691c",
    "mnist-lenet5-operators relu6@sparsity=0.9": "8b566fc2295c 179093313178 9035a1731b03",
    "mnist-lenet5-operators relu6@sparsity=0.95": "8b566fc2295c c45fc13180f4 3fd7fc08a414",
    "mnist-lenet5-operators relu6@sparsity=0.97": "8b566fc2295c 5874572edb80 8a4b471d705d",
    "mnist-lenet5-operators relu6@sparsity=0.99": "8b566fc2295c 526d521c9523 6275776900d1",
    "mnist-lenet5-operators swish@sparsity=0.9": "8b566fc2295c 179093313178 07911b7f90f2",
    "mnist-lenet5-operators swish@sparsity=0.95": "8b566fc2295c c45fc13180f4 ba97d2bb2214",
    "mnist-lenet5-operators swish@sparsity=0.97": "8b566fc2295c 5874572edb80 42fc8a086eef",
    "mnist-lenet5-operators swish@sparsity=0.99": "8b566fc2295c 526d521c9523 93969eb1e616",
    "mnist-lenet5-operators gelu@sparsity=0.9": "8b566fc2295c 179093313178 c70b4414b50c",
    "mnist-lenet5-operators gelu@sparsity=0.95": "8b566fc2295c c45fc13180f4 c1acbe90c33c",
    "mnist-lenet5-operators gelu@sparsity=0.97": "8b566fc2295c 5874572edb80 f5b1fa1d2c72",
    "mnist-lenet5-operators gelu@sparsity=0.99": "8b566fc2295c 526d521c9523 00086e364efd",
    "mnist-lenet5-operators elu@sparsity=0.9": "8b566fc2295c 179093313178 a77e36133636",
    "mnist-lenet5-operators elu@sparsity=0.95": "8b566fc2295c c45fc13180f4 435331ab3112",
    "mnist-lenet5-operators elu@sparsity=0.97": "8b566fc2295c 5874572edb80 eedaa9bfedbd",
    "mnist-lenet5-operators elu@sparsity=0.99": "8b566fc2295c 526d521c9523 4c930bdf160b",
    "mnist-lenet5-operators tanh@sparsity=0.9": "8b566fc2295c 179093313178 fec15c1de6ae",
    "mnist-lenet5-operators tanh@sparsity=0.95": "8b566fc2295c c45fc13180f4 b29d35539398",
    "mnist-lenet5-operators tanh@sparsity=0.97": "8b566fc2295c 5874572edb80 b2fc5a970563",
    "mnist-lenet5-operators tanh@sparsity=0.99": "8b566fc2295c 526d521c9523 9a6b9ccd7497",
    "mnist-lenet5-operators symlog@sparsity=0.9": "8b566fc2295c 179093313178 6b7f6446b8bd",
    "mnist-lenet5-operators symlog@sparsity=0.95": "8b566fc2295c c45fc13180f4 75c1aae44a7f",
    "mnist-lenet5-operators symlog@sparsity=0.97": "8b566fc2295c 5874572edb80 bb6b7f20272c",
    "mnist-lenet5-operators symlog@sparsity=0.99": "8b566fc2295c 526d521c9523 67f7e6a747d1",
    "mnist-lenet5-operators srs@sparsity=0.9": "8b566fc2295c 179093313178 b1acaf3b845e",
    "mnist-lenet5-operators srs@sparsity=0.95": "8b566fc2295c c45fc13180f4 2bb3d9deeb9a",
    "mnist-lenet5-operators srs@sparsity=0.97": "8b566fc2295c 5874572edb80 6f0aa4bc9e87",
    "mnist-lenet5-operators srs@sparsity=0.99": "8b566fc2295c 526d521c9523 5d3c4eb60698",
    "mnist-lenet5-operators acon@sparsity=0.9": "8b566fc2295c 179093313178 b60b48fb3889",
    "mnist-lenet5-operators acon@sparsity=0.95": "8b566fc2295c c45fc13180f4 1fe0579bfec8",
    "mnist-lenet5-operators acon@sparsity=0.97": "8b566fc2295c 5874572edb80 f04154fc9d94",
    "mnist-lenet5-operators acon@sparsity=0.99": "8b566fc2295c 526d521c9523 f272fa7763bc",
    "mnist-lenet5-operators prelu@sparsity=0.9": "8b566fc2295c 179093313178 56f4f9a44c2d",
    "mnist-lenet5-operators prelu@sparsity=0.95": "8b566fc2295c c45fc13180f4 424393ae9407",
    "mnist-lenet5-operators prelu@sparsity=0.97": "8b566fc2295c 5874572edb80 c5f5e95d46eb",
    "mnist-lenet5-operators prelu@sparsity=0.99": "8b566fc2295c 526d521c9523 9a773299285e",
    "mnist-lenet5-safs relu": "8b566fc2295c 2e0cf659547f",
    "mnist-lenet5-safs stage-1": "8b566fc2295c 5874572edb80 8795a99f5512 d42fb87a0fb5",
    "mnist-lenet5-safs stage-2": "8b566fc2295c 5874572edb80 c223c29eac5b 54a25214a506",
    "mnist-lenet5-safs safs": "8b566fc2295c 5874572edb80 8795a99f5512 161e3ded50f8 acc5a3935d3c",
    "mnist-lenet5-safs relu-tuned": "8b566fc2295c 5874572edb80 efdeee306f7f 9da12500a77c",
    "cifar10-resnet18-safs relu": "8049d53e307d 73384788943e",
    "cifar10-resnet18-safs stage-1": "8049d53e307d 808db0259c28 2d03a560a3c1 e254512df3ba",
    "cifar10-resnet18-safs stage-2": "8049d53e307d 808db0259c28 4b96c8007923 f220391c5881",
    "cifar10-resnet18-safs safs": "8049d53e307d 808db0259c28 2d03a560a3c1 3e8602ae2cee 15e1043e3318",
    "cifar10-resnet18-safs relu-tuned": "8049d53e307d 808db0259c28 445c96f1b5e1 abe0a89fb7ef",
    "cifar10-vgg16-safs relu": "2e9485575385 36184a2a7b60",
    "cifar10-vgg16-safs stage-1": "2e9485575385 2f1d5ae6a51a 3905ccafd14a f1b77e5f7a6d",
    "cifar10-vgg16-safs stage-2": "2e9485575385 2f1d5ae6a51a 0ab6788672fe e3e6b6e81d07",
    "cifar10-vgg16-safs safs": "2e9485575385 2f1d5ae6a51a 3905ccafd14a 03af0f7983da 09bb4a717daa",
    "cifar10-vgg16-safs relu-tuned": "2e9485575385 2f1d5ae6a51a 7716265e8265 22c4993d38e0",
    "mnist-lenet5-combined magnitude": "81d897ca2e92 dba1f8be620c",
    "mnist-lenet5-combined magnitude-ap": "81d897ca2e92 67572ffad275",
    "mnist-lenet5-combined counts": "c6a1d00254bf d1d6131ebffb",
    "mnist-lenet5-combined counts-ap": "c6a1d00254bf 584063781b07",
    "mnist-lenet5-combined magnitude-safs": "81d897ca2e92 ecaa8dafdd36 32a60716b199 8c1d1416c229",
    "mnist-lenet5-combined magnitude-ap-safs": "81d897ca2e92 ecda8e4cd0c3 b3d8ed24b37a 14e9126d1ed7",
    "mnist-lenet5-combined counts-safs": "c6a1d00254bf 5cb56a6f3be3 e8911ddb756a 470100f1e190",
    "mnist-lenet5-combined counts-ap-safs": "c6a1d00254bf b9da1fb3aaf2 c2ad482bc6eb 783042b72293",
    "mnist-lenet5-safs relu-floor": "8b566fc2295c 7c3b69aaca4f",
    "mnist-lenet5-safs relu-connected": "8b566fc2295c 1ae73a90b77d",
    "imagenet16-efficientnet-b0-safs swish": "a2a926bca96c da987cd28f20",
    "imagenet16-efficientnet-b0-safs stage-1": "a2a926bca96c 0481112c1c0c e62cf636e1f3 3c89425887a5",
    "imagenet16-efficientnet-b0-safs stage-2": "a2a926bca96c 0481112c1c0c aa24d9b01c4e 98c9901a1aac",
    "imagenet16-efficientnet-b0-safs safs": "a2a926bca96c 0481112c1c0c e62cf636e1f3 069f961a68f3 d4dc6c929afa",
    "imagenet16-efficientnet-b0-safs swish-tuned": "a2a926bca96c 0481112c1c0c e2ff8187afa0 8fbbbdd8cd7f",
}


def found_identities():
    recipes = {path.stem: load_recipe(path) for path in RECIPES}
    return {
        f"{name} {arm.name}": " ".join(task.identity[:12] for task in golden_tasks(arm))
        for name, recipe in recipes.items()
        for arm in recipe.arms
    }


def golden_tasks(arm):
    tasks = tasks_of(arm.name, arm.setup, [0], PLACE)[0]
    return [task for task in tasks if task.number == 0 and task.kind not in ("finalist", "tuned")]


def test_the_identities_of_the_shipped_recipes_stay():
    """Finished runs are found by these: dense training, levels; of a search the first trial stands for all.

    They change only if results do. A new field with a default, a new short name or a moved default (with
    ``introduced``) leaves them as they are. Where results change on purpose, write the new ones down here, and say in
    the changelog that finished runs are computed again.
    """
    assert found_identities() == GOLDEN


def test_nothing_but_what_decides_the_result_tells():
    other_place = Place(Path("/elsewhere"), Path("/data"), 7, ("/mine",))
    assert names(place=other_place) == names()
    assert names(arm="other") == names()
    assert names({"prune.criterion": {"is": "magnitude"}, "train.precision": "auto"}) == names()
    assert names({"train.optimizer": {"is": "sgd", "learning_rate": 0.05, "momentum": 0.9}}) == names()


DENSE_CHANGES = [
    {"data.limit": 100},
    {"data.validation": 100},
    {"network.name": "lenet-300-100"},
    {"network.init": "xavier"},
    {"train.epochs": 3},
    {"train.batch_size": 10},
    {"train.optimizer": "adam"},
    {"train.optimizer": {"is": "sgd", "learning_rate": 0.06}},
    {"train.schedule": "cosine"},
    {"train.precision": "float32"},
    {"prune.exclude": ["fc.*"]},
    {"prune.rewind_epoch": 1},
    {"prune.rewind": "none"},
    {"measure.images": 50},
    {"measure.every": 2},
    {"measure.diagnostics": ["dead-units", "gradient-norm"]},
]


@pytest.mark.parametrize("change", DENSE_CHANGES, ids=str)
def test_what_decides_the_dense_training_changes_both(change):
    (dense, levels), (old_dense, old_levels) = names(change), names()
    assert dense != old_dense
    assert levels != old_levels


LEVELS_CHANGES = [
    {"prune.criterion": "taylor"},
    {"prune.schedule": {"is": "geometric", "rate": 0.2, "levels": 2}},
    {"prune.schedule": "dense"},
    {"prune.then": ["ap"]},
    {"prune.then": [{"is": "ap", "q": 0.03}]},
    {"prune.scope": "layer"},
    {"prune.scope": "layer", "prune.allocation": "erk"},
    {"prune.scope": "rows"},
    {"prune.scope": {"is": "nm", "n": 2, "of": 4}},
    {"prune.scope": {"is": "nm", "n": 2, "of": 4, "remainder": "pad"}},
    {"prune.granularity": "unit"},
    {"prune.granularity": {"is": "block", "rows": 1, "columns": 16}},
    {"prune.floor": 2},
    {"prune.floor": 0.01},
    {"prune.allow_collapse": True},
    {"prune.connect": True},
    {"prune.connect": True, "prune.images": 100},
    {"prune.criterion": "taylor", "prune.images": 100},
]


@pytest.mark.parametrize("change", LEVELS_CHANGES, ids=str)
def test_what_decides_the_pruning_alone_leaves_the_dense_training_shared(change):
    (dense, levels), (old_dense, old_levels) = names(change), names()
    assert dense == old_dense
    assert levels != old_levels


def test_every_change_has_an_identity_of_its_own():
    changes = [None, *DENSE_CHANGES, *LEVELS_CHANGES]
    found = {names(change)[1] for change in changes} | {names(seed=1)[1]}
    assert len(found) == len(changes) + 1
    assert names(seed=1)[0] != names()[0]


def test_the_setup_of_a_dense_training_prunes_nothing():
    setup = dense_of(small({"prune.then": ["ap"], "prune.exclude": ["fc.*"]}).arms[0].setup)
    assert setup.prune.schedule.levels == 0
    assert (setup.prune.then, setup.prune.exclude) == ((), ("fc.*",))


def test_a_class_of_the_users_own_that_is_called_like_ours_is_another_one(mine):
    assert names({"prune.criterion": "mine:Magnitude"}) != names({"prune.criterion": "magnitude"})
    assert names({"prune.criterion": "mine:Magnitude"})[0] == names()[0]


def test_an_edited_file_changes_the_tasks_that_use_it_and_no_others(mine):
    own = [{"prune.criterion": "mine:Mine"}, {"prune.criterion": {"is": "mine:Magnitude"}}]
    before, ours = [names(change) for change in own], names()
    write_module(mine, "mine", MINE + "\n# another word\n")
    after = [names(change) for change in own]
    assert all(new[1] != old[1] and new[0] == old[0] for new, old in zip(after, before, strict=True))
    assert names() == ours
    write_module(mine, "mine", MINE)
    assert [names(change) for change in own] == before


def test_two_functions_of_a_value_are_told_apart_by_name(mine):
    text = "\nfrom collections.abc import Callable\n\ndef one(x):\n    return x\n\ndef two(x):\n    return x\n"
    text = (
        text
        + MINE.split("@dataclass")[0]
        + "@dataclass(frozen=True)\nclass By:\n    what: Callable[..., object]\n    needs = ()\n"
    )
    write_module(mine, "by", text + "    def __call__(self, evidence): ...\n")
    found = [names({"prune.criterion": {"is": "by:By", "what": f"by:{what}"}})[1] for what in ("one", "two")]
    assert found[0] != found[1]


def test_a_new_field_with_a_default_changes_neither_identity_nor_folder(monkeypatch):
    before, folder = names(), small().folder_name

    class More(sections.PruneSection):
        younger: int = Field(0, description="new")

    class MoreSetup(Setup):
        prune: More = Field(default_factory=lambda: More.model_validate({}))

    monkeypatch.setitem(sections.SECTIONS, "prune", More)
    monkeypatch.setattr(sections, "Setup", MoreSetup)
    assert "younger" in small().arms[0].setup.plain()["prune"]
    assert (names(), small().folder_name) == (before, folder)
    assert names({"prune.younger": 3})[1] != before[1]
    assert names({"prune.younger": 3})[0] == before[0]


def test_a_new_field_of_a_value_changes_neither_identity_nor_folder(mine):
    change = {"prune.criterion": {"is": "mine:Mine", "power": 3.0}}
    setup = small(change).arms[0].setup

    @dataclass(frozen=True)
    class Mine:
        power: float = 2.0
        alpha: float = 0.5
        beta: float = field(default=0.7, metadata={"introduced": 0.1})
        needs = ()

    old = setup.prune.told()["criterion"]
    assert old["power"] == 3.0
    import mine as module

    Mine.__module__, Mine.__qualname__, module.Mine = "mine", "Mine", Mine
    told = lambda **values: setup.prune.model_copy(update={"criterion": Mine(3.0, **values)}).told()["criterion"]  # noqa: E731
    assert told(beta=0.1) == old
    assert told(alpha=0.6, beta=0.1) != old
    assert told() != old  # the default has changed since, and so has the result


def test_a_default_that_changes_keeps_the_old_results_apart(monkeypatch):
    before = names(), names({"measure.every": 2})

    class Changed(sections.MeasureSection):
        every: int = Field(2, ge=0, json_schema_extra={"introduced": 1})

    class ChangedSetup(Setup):
        measure: Changed = Field(default_factory=lambda: Changed.model_validate({}))

    monkeypatch.setitem(sections.SECTIONS, "measure", Changed)
    monkeypatch.setattr(sections, "Setup", ChangedSetup)
    assert (names({"measure.every": 1}), names()) == before


def test_a_short_name_may_change(monkeypatch):
    before = names({"prune.criterion": "taylor"})
    monkeypatch.setitem(sections.CRITERIA.names, "first-order", criteria.Taylor)
    assert names({"prune.criterion": "first-order"}) == before


def test_a_task_travels_and_reads_its_setup_where_it_arrives(mine):
    dense, levels = tasks({"prune.criterion": {"is": "mine:Mine", "power": 3.0}})
    assert levels.setup.prune.criterion.power == 3.0
    data = pickle.dumps(levels)
    assert len(data) < 5000
    again = pickle.loads(data)
    assert again == levels
    assert "setup" not in vars(again)
    assert again.setup == levels.setup
    assert again.needs == (dense,)


def test_a_task_is_not_computed_by_other_code_than_that_it_was_named_for(mine):
    """A file that was edited while the run went on gave its results to the identity of the old one."""
    dense, levels = (pickle.loads(pickle.dumps(task)) for task in tasks({"prune.criterion": "mine:Mine"}))
    write_module(mine, "mine", MINE + "\n# another word\n")  # and a process that starts now
    check_identity(dense)
    with pytest.raises(StoreMismatch, match="are not what they were when the run began"):
        check_identity(levels)
    write_module(mine, "mine", MINE)
    check_identity(pickle.loads(pickle.dumps(levels)))


def test_folders_and_names():
    dense, levels = tasks(arm="ap", seed=3)
    assert levels.folder == Path("tasks") / f"levels-{levels.identity[:16]}"
    assert dense.folder == Path("tasks") / f"dense-{dense.identity[:16]}"
    assert (levels.name, levels.seed, dense.name) == ("ap seed 3", 3, "dense of ap seed 3")


def test_of_equal_tasks_the_first_stays():
    own, other = tasks(arm="a")[1], tasks(arm="b")[1]
    assert distinct([own, other, own]) == [own]


@pytest.mark.parametrize(
    ("changes", "dense", "levels"),
    [
        ({}, 2, 2),
        ({"prune.schedule": {"is": "geometric", "rate": 0.2, "levels": 3}}, 2, 6),
        ({"prune.then": [{"is": "ap", "variant": "pro"}]}, 2, 4),
        ({"prune.then": [{"is": "ap", "variant": "pro"}, "train", "train"]}, 2, 8),
        ({"prune.rewind_epoch": 1}, 2, 1),
        ({"prune.schedule": "dense"}, 2, 0),
    ],
)
def test_the_epochs_of_a_task_are_known_before(changes, dense, levels):
    assert tuple(task.epochs for task in tasks(changes)) == (dense, levels)


@pytest.mark.parametrize("own", [True, False], ids=["in its file", "in a file that it imports"])
def test_the_network_of_a_factory_tells_by_what_it_builds(tmp_path, monkeypatch, own):
    text = (
        "from torch import nn\n\ndef make(classes):\n"
        "    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, classes))\n"
        "    # more\n    return model\n"
    )
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for change in (("", ""), ("8", "9"), ("nn.ReLU()", "nn.GELU()"), ("# more", "nn.init.zeros_(model[1].bias)")):
        write_module(tmp_path, "changing_nets", text.replace(*change) if change[0] else text)
        write_module(
            tmp_path,
            "same_nets",
            "import changing_nets\n\n\ndef make(classes):\n    return changing_nets.make(classes)\n",
        )
        found.append(names({"network.name": f"{'changing' if own else 'same'}_nets:make"}))
    assert len({dense for dense, _ in found}) == 4
    assert len({levels for _, levels in found}) == 4


def test_criteria_of_equal_settings_are_one_value():
    assert small({"prune.criterion": {"is": "magnitude"}}).arms[0].setup.prune.criterion == Magnitude()


def test_what_draws_draws_otherwise_in_each_replicate(tmp_path):
    (arm,) = small({"prune.criterion": {"is": "random", "seed": 3}}).arms
    plans = [make_plan(arm.setup, seed=seed, steps=2) for seed in (0, 1)]
    assert [plan.criterion for plan in plans] == [criteria.Random(3), criteria.Random(4)]
