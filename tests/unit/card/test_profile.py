import pytest

from kms.card.profile import CardProfile
from kms.errors import Code, KmsError


def test_a_profile_needs_only_its_name() -> None:
    profile = CardProfile(name="default")

    assert profile.initial_key_route == "store-data"
    assert profile.aes_block_form == "long"
    assert profile.security_level == 3
    assert profile.ssd_install_parameters == bytes.fromhex("C900")


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(KmsError) as refused:
        CardProfile(
            name="",
            initial_key_route="guess",
            ssd_load_file_aid=b"\xa0",
            ssd_module_aid=bytes(17),
            ssd_install_parameters=b"",
            aes_block_form="wide",
            kvn_start_scp02=0,
            kvn_start_scp03=0x71,
            security_level=0,
            max_command_data=256,
        )

    assert refused.value.code is Code.CONFIG_INVALID
    assert [fault.where for fault in refused.value.faults] == [
        "name",
        "initial_key_route",
        "ssd_load_file_aid",
        "ssd_module_aid",
        "ssd_install_parameters",
        "aes_block_form",
        "kvn_start_scp02",
        "kvn_start_scp03",
        "security_level",
        "max_command_data",
    ]


@pytest.mark.parametrize(("level", "most"), [(1, 247), (3, 239)])
def test_command_data_leave_room_for_mac_and_padding(level: int, most: int) -> None:
    CardProfile(name="x", security_level=level, max_command_data=most)
    with pytest.raises(KmsError, match=f"max_command_data is not 32-{most}"):
        CardProfile(name="x", security_level=level, max_command_data=most + 1)


@pytest.mark.parametrize(
    ("scp", "generation", "kvn"), [(2, 0, 0x20), (2, 15, 0x2F), (2, 16, 0x20), (3, 1, 0x31), (3, 33, 0x31)]
)
def test_generations_cycle_through_the_protocols_key_versions(scp: int, generation: int, kvn: int) -> None:
    assert CardProfile(name="default").get_kvn(scp, generation) == kvn


@pytest.mark.parametrize(("scp", "generation"), [(1, 0), (10, 0), (2, -1)])
def test_there_is_no_key_version_for_an_unknown_protocol_or_generation(scp: int, generation: int) -> None:
    with pytest.raises(KmsError, match="no key version"):
        CardProfile(name="default").get_kvn(scp, generation)
