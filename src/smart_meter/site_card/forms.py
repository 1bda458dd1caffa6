"""The forms of a site card's files: `places.masked` of the templates (`make generate`)."""

from __future__ import annotations

FORMS: dict[str, frozenset[str]] = {
    "network_settings": frozenset(
        {
            "f51713db9792bc73aff410dab56e41a06ff49ff5a7004016287db709b0c41cdc",
        }
    ),
    "network_confirmed": frozenset(
        {
            "c246bd207ba2871eefc48f53f6ca7873b5d2c824cb2f0f4047725a510fcdda34",
        }
    ),
    "kernel": frozenset(
        {
            "6d818accd872cfe95158f1ef2987b7b7cc8aaa3b000bacce081aac4ad31f6aa0",
        }
    ),
    "ping": frozenset(
        {
            "128e85ac247f20876361c9d744490618b5e66d68bc3baec12c2a3fb6faccbcb0",
        }
    ),
    "wifi_unit": frozenset(
        {
            "3b774d50c79d963b0fb667f2864f45fd8f65e31ecdeed4fae91c626d163ce254",
        }
    ),
    "wifi_program": frozenset(
        {
            "12a6e32ce0333bb72b8698f8d0e912b7e4e2b0e4983f91475766d4605e53a760",
        }
    ),
    "wifi_country": frozenset(
        {
            "6ba3a62016c905ac3a28df05c2ad892848b2c6bc97d178e6f932ccb0bd99cec8",
        }
    ),
    "service": frozenset(
        {
            "6a2f231db65a7d81c3141b23375f02b471ba30af516e97e22df2bde49a8a4d45",
            "f969395a0cc910dc11e67baf66a88f5b2fa9c549b5e83f1cf90a3a0cc3ecea70",
        }
    ),
    "socket": frozenset(
        {
            "1c6817aa71c1dc0fc2f9095259458c23afc25b19de0abe6c1d2845778d38bc05",
        }
    ),
    "journal": frozenset(
        {
            "b379a1dc6db815f6b58bd452f29cb6c50ac2745a696866012d382f7fcdccded6",
        }
    ),
    "time": frozenset(
        {
            "3dc3a6c304a430d1477ee534492d427d8ced44ddc4964f367f7b620a0aaac469",
        }
    ),
    "watchdog": frozenset(
        {
            "7ca0625ce80a510506e924f18feccdc8e44566c9bd9de749ca556c0ea059ce32",
        }
    ),
    "updates": frozenset(
        {
            "cc5d00d56180803ab81a4119741e0486af440644fbcc70617c020bebc5ee52d5",
        }
    ),
    "restart_program": frozenset(
        {
            "6b86b0b91e0442f4f35868fb9b71eea27f96a38b4512dfed0ba65f2ad63e0547",
        }
    ),
    "restart_unit": frozenset(
        {
            "d4e1a1e2291aabba58ea17d0b334dff7b6775e614b4be53d425ee06b5cd30d9e",
        }
    ),
    "restart_timer": frozenset(
        {
            "c2a09bf66d4f996b7369e740a0ad51109d1b44feaca1fe4ea0b64d81a2c36cf3",
        }
    ),
}
