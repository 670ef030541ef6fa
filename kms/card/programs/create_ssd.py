"""CreateSsd: a supplementary security domain made, and given its initial keys.

By the ISD (route `store-data`, GP 2.3.1 section 7.3.2): SELECT SSD, SELECT ISD, INITIALIZE UPDATE | EXTERNAL
AUTHENTICATE, GET STATUS, INSTALL [for install], INSTALL [for personalization] | STORE DATA with the key DGIs, SELECT
SSD, INITIALIZE UPDATE, whose card cryptogram proves the initial keys. INSTALL [for personalization] ends its batch: a
STORE DATA after its failure would key the ISD itself.

Under the parent's keys (route `put-key`): the second batch ends with INSTALL [for install]; ReplaceKeys then adds the
initial keys to the SSD, which answers with its parent's keys while it has none of its own.

`resume`: an earlier attempt may have made the SSD; it is then taken as ours when GET STATUS shows it. The first
attempt must therefore know that it is not there before INSTALL leaves, since INSTALL's answer may be lost: that is what
the first SELECT asks, and why a channel that was left half open is not used.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from kms.card.apdu import CommandApdu, ResponseApdu
from kms.card.channel import (
    ChannelParameters,
    ChannelState,
    Handshake,
    SecureChannel,
    get_max_command_data,
    resume_channel,
)
from kms.card.commands import (
    DomainLifeCycle,
    StatusScope,
    build_get_status,
    build_install_for_install,
    build_install_for_personalization,
    build_key_dgis,
    build_select,
    build_set_status,
    build_store_data_blocks,
    parse_get_status,
    parse_select_response,
)
from kms.card.keys import KeyPort
from kms.card.programs import replace_keys
from kms.card.programs.base import (
    AnswerError,
    Batch,
    Candidate,
    Evidence,
    Finished,
    ForeignDomainError,
    build_opening,
    build_question,
    card_answers,
    check_answer,
    check_secured,
    open_checked,
    parse_answers,
    parse_handshake,
    parse_opening,
    prove,
    to_bytes,
)
from kms.card.programs.new_keys import build_initial_keys
from kms.card.programs.step import Step
from kms.card.status import (
    INS_EXTERNAL_AUTHENTICATE,
    INS_GET_STATUS,
    INS_INSTALL,
    INS_SELECT,
    INS_SET_STATUS,
    INS_STORE_DATA,
    StatusWord,
)
from kms.errors import KmsError

AUTHENTICATE, STATUS, INSTALL, PERSONALIZE = (
    "EXTERNAL AUTHENTICATE",
    "GET STATUS",
    "INSTALL [for install]",
    "INSTALL [for personalization]",
)
INS = {
    AUTHENTICATE: INS_EXTERNAL_AUTHENTICATE,
    STATUS: INS_GET_STATUS,
    INSTALL: INS_INSTALL,
    PERSONALIZE: INS_INSTALL,
    "STORE DATA": INS_STORE_DATA,
    "SET STATUS": INS_SET_STATUS,
}
# Cards of GP 2.1.1 know GET STATUS without TLV alone and refuse P2 = 02: they do not tell what is there.
# 6310: more than fits one answer begins with this AID; what is not among the first entries is not told either.
STATUS_ANSWERS = (StatusWord.REFERENCE_NOT_FOUND, StatusWord.WRONG_P1_P2, StatusWord.MORE_DATA)


@dataclass(frozen=True)
class SsdRecipe:
    """How an SSD is made on this kind of card (card profile and catalogue). AIDs 5-16 bytes; privileges 1 or 3."""

    aid: bytes
    load_file_aid: bytes
    module_aid: bytes
    privileges: bytes
    install_parameters: bytes
    route: Literal["store-data", "put-key"] = "store-data"
    max_command_data: int = 239
    set_personalized: bool = False


@dataclass(frozen=True)
class CreateSsd:
    """State of the program. `parent`: the ISD's set in force; `initial`: the SSD's first keys.

    `sent`: names of the last batch's commands; `channel`: the ISD's, from the second batch on. `initial_parameters`: of
    the SSD's channel under the initial set (None: as the ISD's).
    """

    parameters: ChannelParameters
    recipe: SsdRecipe
    parent: Candidate
    initial: Candidate
    resume: bool = False
    aes_block_form: Literal["long", "short"] = "long"
    stage: Literal["opening", "making", "keying"] = "opening"
    host_challenge: bytes = field(default=b"", repr=False)
    channel: ChannelState | None = None
    sent: tuple[str, ...] = ()
    initial_parameters: ChannelParameters | None = None
    kind: Literal["create-ssd"] = "create-ssd"

    @property
    def ssd_parameters(self) -> ChannelParameters:
        """The channel of the SSD itself, under its initial set."""
        return self.initial_parameters or self.parent_parameters

    @property
    def parent_parameters(self) -> ChannelParameters:
        """The channel of the SSD itself while it has no keys of its own: under its parent's."""
        return replace(self.parameters, aid=self.recipe.aid)

    @property
    def may_have_changed_card(self) -> bool:
        """Whether a key set may be in. An SSD that INSTALL made has none yet: the next attempt takes it up."""
        return self.stage == "keying"


def start(state: CreateSsd, keys: KeyPort, host_challenge: bytes, handshake: Handshake | None = None) -> Step:
    """Open the ISD's channel, or go on from the one that `handshake` left half open under the parent's set."""
    if handshake is not None and state.resume:
        return _make(state, handshake, keys)
    batch = build_opening(state.parameters, state.parent.ref.kvn, host_challenge)
    if not state.resume:
        batch = replace(batch, commands=(*to_bytes((build_select(state.recipe.aid),)), *batch.commands))
    return Step(state=replace(state, host_challenge=host_challenge), batch=batch)


def advance(state: CreateSsd, responses: Sequence[bytes], keys: KeyPort, host_challenge: bytes) -> Step:
    """Take the next step after the answers to the last batch."""
    if state.channel is None:
        if not state.resume:
            names = ("SELECT SSD", "SELECT", "INITIALIZE UPDATE")
            _check_absent(state, parse_answers(responses, names)[0])
            responses = responses[1:]
        handshake = parse_opening(responses, state.host_challenge, state.parameters, state.parent.ref.kvn)
        return _make(state, handshake, keys)
    if state.stage == "keying":
        return _keyed(state, state.channel, responses, keys)
    return _made(state, state.channel, responses, keys, host_challenge)


def _make(state: CreateSsd, handshake: Handshake, keys: KeyPort) -> Step:
    channel = open_checked(keys, state.parent, handshake, state.parameters)
    recipe = state.recipe
    install = build_install_for_install(
        recipe.load_file_aid, recipe.module_aid, recipe.aid, recipe.privileges, recipe.install_parameters
    )
    commands = [
        channel.external_authenticate(),
        channel.wrap(build_get_status(StatusScope.APPLICATIONS, recipe.aid)),
        channel.wrap(install),
    ]
    sent = [AUTHENTICATE, STATUS, INSTALL]
    if recipe.route == "store-data":
        commands.append(channel.wrap(build_install_for_personalization(recipe.aid)))
        sent.append(PERSONALIZE)
    return Step(
        state=replace(state, stage="making", channel=channel.state(), sent=tuple(sent)),
        batch=Batch(to_bytes(commands), makes_domain=True),
        proved=(Evidence(state.parent.label, handshake.sequence_counter),),
    )


def _made(
    state: CreateSsd, opened: ChannelState, responses: Sequence[bytes], keys: KeyPort, host_challenge: bytes
) -> Step:
    answers = parse_answers(responses, state.sent)
    channel = resume_channel(keys, opened)
    check_secured(channel, answers[0], AUTHENTICATE, INS[AUTHENTICATE])
    shown = check_secured(channel, answers[1], STATUS, INS[STATUS], *STATUS_ANSWERS)
    with card_answers(STATUS):
        entries = parse_get_status(shown.data) if shown.data else ()
    present = any(entry.aid == state.recipe.aid for entry in entries)
    untold = shown.sw in (StatusWord.WRONG_P1_P2, StatusWord.MORE_DATA)
    if not present and not (untold and state.resume):
        check_secured(channel, answers[2], INSTALL, INS[INSTALL])
    elif state.resume:
        # INSTALL was refused because the SSD is there already, or may be where the card does not tell; what matters is
        # that an answer came: the next command shows whether there is an SSD.
        refusal = answers[2].sw if answers[2] is not None else StatusWord.OK
        check_secured(channel, answers[2], INSTALL, INS[INSTALL], refusal)
    else:
        # SELECT did not find it, so it is locked or not selectable, and takes no keys; or somebody lied.
        raise AnswerError(INSTALL, _say_foreign(state), answers[2].sw if answers[2] else None)
    if state.recipe.route == "put-key":
        program = replace_keys.ReplaceKeys(
            parameters=state.parent_parameters,
            current=state.parent,
            new=state.initial,
            add=True,
            aes_block_form=state.aes_block_form,
            new_parameters=state.ssd_parameters,
        )
        return replace_keys.start(program, keys, host_challenge)
    check_secured(channel, answers[3], PERSONALIZE, INS[PERSONALIZE])
    return _key(state, channel, keys, host_challenge)


def _check_absent(state: CreateSsd, answer: ResponseApdu | None) -> None:
    """Refuse an SSD that SELECT finds; another name in the answer is an application whose AID only begins the same."""
    if answer is None:
        raise AnswerError("SELECT SSD", "SELECT SSD: no answer from the card")
    if answer.sw not in (StatusWord.OK, StatusWord.SELECTED_LOCKED):
        return
    try:
        found = parse_select_response(answer.data).aid
    except KmsError:
        return  # not a security domain's answer; GET STATUS decides
    if found == state.recipe.aid:
        raise ForeignDomainError("SELECT SSD", _say_foreign(state), answer.sw)


def _say_foreign(state: CreateSsd) -> str:
    return (
        f"security domain {state.recipe.aid.hex().upper()} is on the card, but this platform did not make it:"
        " delete it from the card or choose another AID in the catalogue"
    )


def _key(state: CreateSsd, channel: SecureChannel, keys: KeyPort, host_challenge: bytes) -> Step:
    recipe = state.recipe
    initial, installs = build_initial_keys(keys, channel, state.initial.ref, state.initial.label)
    max_data = min(recipe.max_command_data, get_max_command_data(state.parameters))
    blocks = build_store_data_blocks(build_key_dgis(initial), max_data=max_data)
    commands: list[CommandApdu] = [channel.wrap(block) for block in blocks]
    sent = ["STORE DATA"] * len(commands)
    if recipe.set_personalized:
        commands.append(
            channel.wrap(build_set_status(StatusScope.APPLICATIONS, DomainLifeCycle.PERSONALIZED, recipe.aid))
        )
        sent.append("SET STATUS")
    commands += [build_select(recipe.aid), build_question(state.ssd_parameters, state.initial.ref.kvn, host_challenge)]
    after = replace(
        state,
        stage="keying",
        host_challenge=host_challenge,
        channel=channel.state(),
        sent=(*sent, "SELECT", "INITIALIZE UPDATE"),
    )
    return Step(state=after, batch=Batch(to_bytes(commands), installs))


def _keyed(state: CreateSsd, opened: ChannelState, responses: Sequence[bytes], keys: KeyPort) -> Step:
    *secured, select, update = parse_answers(responses, state.sent)
    channel = resume_channel(keys, opened)
    for name, answer in zip(state.sent, secured, strict=False):
        check_secured(channel, answer, name, INS[name])
    check_answer(select, "SELECT", INS_SELECT)
    handshake = parse_handshake(update, state.host_challenge, state.ssd_parameters, state.initial.ref.kvn)
    proof = prove(keys, state.initial, handshake, state.ssd_parameters)
    return Step(outcome=Finished(handshake), proved=(proof,))
