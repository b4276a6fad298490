"""SHA-256 of the scripts and styles of every version of the page: a check knows pages of other versions by them.

To edit a script or a style, add its new digest; a test names the missing ones. Never remove a line: releases with such
pages exist."""

from collections.abc import Mapping

KNOWN_ASSETS: Mapping[str, frozenset[str]] = {
    "page/app.js": frozenset(
        {
            "c0bf3168a09722ec8f11480858422171a3cf0a979d1ed493c3d6ecab9f9a7455",
            "078c71c4e86cb7879d77f927a2b87ab78dcddab6e65f2bf9a847b9b7ed21509e",
            "e2046712b83bae70e4eabed6421c59cf65a990242ce316559a6206e008fe0753",
            "e7bc5a7964c35821700b84c4255751474ab696f248ee11c344f55aa93da728b0",
        }
    ),
    "page/charts.js": frozenset(
        {
            "edd75390e46b82e86d5fb6f233901d330c03d6cd78a85e8a735d55134a9e331f",
            "4fe1713760a3afa22e9fb4f7a66ca925195612d7dd9ea8583a9af1460457d4ba",
            "55a71ac4bbe9f924b5c3e5db7f6a1e5c78ee76ae4e37b4cd06946c954f768b4a",
            "c8e57d28b324dd67e9306cb5549842770bd97094d95fa6467f1454db8ea681c2",
        }
    ),
    "page/detail.js": frozenset(
        {
            "25db5f14ae611918262adac9c2d9ab5c6d690b71ad5031cafd13f2c132dbff40",
            "a627e5ec1e13aca6f046519c4e43402ec44f385c15857587b4d99c4c5680f450",
            "4a19ca1d0129d4ca0a5f0ba2ca1ccb4ab1b8b00e81f473a9db171a824ff3c057",
            "c54dd1cd7af010b400520a31ac111ff404fafa4c0b8f0540207d5c65caecd588",
        }
    ),
    "page/filters.js": frozenset(
        {
            "fd81e82595b1c346f915ec7b4f46d85211c44f063ad8c9f647356c1b6ea46ce0",
            "7795a2ab4b32d9699be98ffa002c4d42820018d3c321ec3f6804eea705d9fabe",
            "ca571e7a710fd430a17ce2694922e1a05b6f2bae2aa58138a1399c997b417d21",
        }
    ),
    "page/gallery.js": frozenset(
        {
            "c1722dd0ccb87c000892904c75779a3fb1e9fed2ea302f35d3159e2c1ee79a5e",
            "09bedfa9960d63091053bcdd8ba1fc1ddf157b71475ba53762055635f4187688",
            "695db6fe49bcad4e628a056a874d0af991a5577bdb19f2ae3fdce55b3e8f62ef",
        }
    ),
    "page/icon.svg": frozenset(
        {
            "c49a7928301a22a3cef71f8bec56f3ea8cc3fa565e6dd6b6b7ae05fbc35dddcc",
        }
    ),
    "page/record.js": frozenset(
        {
            "c135c5756f7725a4d9e67f041e8eb9db2d8858c570424c967852000c0a3bdad4",
        }
    ),
    "page/outlines.js": frozenset(
        {
            "49d2d4b2a1d2696d123f2e4124ebc572fcd8a251899027c82bf674366e8e81eb",
            "fbcbc7c89e14cf44549690c8002b1dfc3490ca9849c48493a4745abb3b335912",
        }
    ),
    "page/rows.js": frozenset(
        {
            "15fb213ecf68c2c2bfafd3dccd6372b075b19fc041a9533232550a10b6bd8005",
            "4355fc254838208cfbe35778edb67b5142db670bac2b371069c3db05034bef97",
            "950180e248d6eaa9e585607b145db7ca9f6de7125af67c3fc17670049c844285",
        }
    ),
    "page/style.css": frozenset(
        {
            "0166f0e016e50ee2f37bc40869daf4ec0792432287e1ce69e57b598028fd7012",
            "017695df354980ce4da3f8233edc95ac31cb2e5fe87c0e088728dbcd044f3327",
            "a312e7c5b4b38ac6bf08e0ec5b722e241b837e210cba47d45c37335ad178db9a",
            "0abb380d37626b82650ff682cbfbcebe75d9335d6ac07cc631444b901b81bed5",
            "466577ec15506a6ce4fc92866ee50ff01c7c5d739de3cedda9890bb015b4e89d",
            "9a68af73a96bdc91deae80183268483b1ca5f738a36456c88e3accf76ce7f922",
        }
    ),
    "page/tiles.js": frozenset(
        {
            "095bc9e59c0db29b829d1b3e4aa0cc6f9a00983a5f48ee51f7762d90b1d7d04f",
            "bcea749356e495c4a2fb466b36e473242ac53e1fe84d47b1c080c8b4372ba9c6",
            "6c76a2c94da72d144e22f4d81142bbba0f73c71751d001096d83e273bc4709e2",
            "846c3b216ffab93d77f15eeb9a3b9881470b7efa1170fe9a52a5f3236f1ce815",
            "ed6cebf437672900af2c40a2c16c2bac71dfbc576ffc760307b175d76994d083",
        }
    ),
    "page/vendor/uPlot.LICENSE.txt": frozenset(
        {
            "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
        }
    ),
    "page/vendor/uPlot.iife.min.js": frozenset(
        {
            "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
        }
    ),
    "page/vendor/uPlot.min.css": frozenset(
        {
            "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
        }
    ),
    "page/view.js": frozenset(
        {
            "30aaf8939ef73fc405d7fee3e25b8ff1646758fa8b37ee75aebc017c7558c64f",
            "00c928f7a2148376c60e1d07961c92c5f293699023790a0ee17cdd57089a1ebd",
            "ec5af2d565d1ea4a50d29bb5d89dc35f87c6f2c4d70c272d7daa7eb8e8da167c",
        }
    ),
    "page/certificates.js": frozenset(
        {
            "8cf2adb97959a7e13496a1dc82f9d49b6ed1150c3b5184411f7c3ad23387894c",
            "11356347062464fc2c2189d637d42b3378e71984bfde67f50e3c5db680328be9",
        }
    ),
    "page/compose.js": frozenset(
        {
            "d755c9a404439beb1550420049f47439c6ce7008c84db9a41f7842a88656374f",
        }
    ),
    "page/further.js": frozenset(
        {
            "da207a1d9f2b4c3153fc4f08cd8ce008d5556a81e4f99bf131bc2a8075bc1193",
        }
    ),
    "page/sample.js": frozenset(
        {
            "a73da6b37d9d3cd08e05ebcdc73b0447e9401fdb118fc1e1be6b90ff0a9ac4d1",
        }
    ),
    "page/viewer.js": frozenset(
        {
            "53b2cb2ff8cf4fcb8090c55a583f255374f0ab379c6f01ebd64dca1346c89902",
            "aa1f3cc0d496845594198c1c35b0b991786ad330fc1aff5a8060b39f67b9a558",
        }
    ),
    "page/gallery.css": frozenset(
        {
            "2ecb9a9f7ba57f142fa89192270a7501884dc9876f8d4bab72514a745c09a8a9",
        }
    ),
    "page/viewer.css": frozenset(
        {
            "ff0497cdde3b566a4dc9622f36699a454e0d26c38d3fd84e82552076c966c3fa",
        }
    ),
}
"""File, relative to the release → digests that it has had."""
