"""GlobalPlatform commands as values: what goes to the card and what its answers mean, a module per command.

Rules: `build_x` makes an unprotected command (CLA 80, or 00 for SELECT) which the secure channel then wraps; `parse_x`
reads the data of a response whose status word was checked before. Nothing here sees a key value.
"""

from kms.card.commands.data import (
    Cplc,
    DataTag,
    KeyInformation,
    ScpOption,
    build_get_data,
    parse_card_recognition,
    parse_cplc,
    parse_data_object,
    parse_key_information,
    parse_sequence_counter,
)
from kms.card.commands.delete import build_delete_key, build_delete_object
from kms.card.commands.fields import KVN_FACTORY
from kms.card.commands.install import (
    build_install_for_extradition,
    build_install_for_install,
    build_install_for_personalization,
    build_install_parameters,
)
from kms.card.commands.put_key import (
    KeyDataField,
    build_key_data,
    build_key_data_field,
    build_put_key,
    check_put_key_response,
    get_key_type_code,
    parse_key_block,
    parse_key_data_fields,
)
from kms.card.commands.secure_channel import build_begin_r_mac, build_end_r_mac, build_initialize_update
from kms.card.commands.select import SelectResponse, build_select, parse_select_response
from kms.card.commands.status import (
    DomainLifeCycle,
    RegistryEntry,
    StatusScope,
    build_get_status,
    build_set_status,
    parse_get_status,
)
from kms.card.commands.store_data import (
    Dgi,
    InitialKey,
    build_dgi,
    build_key_dgis,
    build_store_data_blocks,
    get_key_usage,
    parse_dgis,
)

__all__ = [
    "KVN_FACTORY",
    "Cplc",
    "DataTag",
    "Dgi",
    "DomainLifeCycle",
    "InitialKey",
    "KeyDataField",
    "KeyInformation",
    "RegistryEntry",
    "ScpOption",
    "SelectResponse",
    "StatusScope",
    "build_begin_r_mac",
    "build_delete_key",
    "build_delete_object",
    "build_dgi",
    "build_end_r_mac",
    "build_get_data",
    "build_get_status",
    "build_initialize_update",
    "build_install_for_extradition",
    "build_install_for_install",
    "build_install_for_personalization",
    "build_install_parameters",
    "build_key_data",
    "build_key_data_field",
    "build_key_dgis",
    "build_put_key",
    "build_select",
    "build_set_status",
    "build_store_data_blocks",
    "check_put_key_response",
    "get_key_type_code",
    "get_key_usage",
    "parse_card_recognition",
    "parse_cplc",
    "parse_data_object",
    "parse_dgis",
    "parse_get_status",
    "parse_key_block",
    "parse_key_data_fields",
    "parse_key_information",
    "parse_select_response",
    "parse_sequence_counter",
]
