"""What can go wrong between a deployment and an answer."""

from surplus.kit.errors import BadRequest, Conflict, NotFound, SurplusError, TimedOut, Unavailable, UpstreamFailed


class BadDeployment(BadRequest):
    """The description of a deployment is incomplete, contradicts itself, or would have no effect."""

    code = "bad_deployment"


class DeploymentExists(Conflict):
    """The id is taken."""

    code = "deployment_exists"


class UnknownDeployment(NotFound):
    """No deployment has this id."""

    code = "unknown_deployment"


class IllegalTransition(SurplusError):
    """A replica was told something that cannot happen in its state: a fault of ours."""

    code = "illegal_transition"


class EngineFailed(Unavailable):
    """An engine did not start, does not answer, or has ended. It is tried again."""

    code = "engine_failed"


class EngineMisconfigured(EngineFailed):
    """An engine cannot work until somebody changes something: a key, a path, a limit. It is still tried again."""

    code = "engine_misconfigured"


class UpstreamUnreachable(UpstreamFailed):
    """No connection, or it broke before an answer began."""

    code = "upstream_unreachable"


class UpstreamCut(UpstreamFailed):
    """The answer began and did not end as it should."""

    code = "upstream_cut"


class AnswerTooLarge(UpstreamFailed):
    """The answer is larger than the caller of `read` takes."""

    code = "upstream_answer_too_large"


class UpstreamTimedOut(TimedOut):
    """No head, or no further bytes, within the time allowed."""

    code = "upstream_timeout"
