"""Associations of the classic DICOM network (PS3.7, PS3.8): made, watched over, and what goes wrong in plain words."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from socketserver import BaseServer

from ..errors import ConfigError, ConnectionLost, PacsError
from .config import DimseSettings, Tls

__all__ = ["TRANSFER_SYNTAXES", "associate", "check_status", "listening", "storage_contexts"]

_UNCOMPRESSED = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
# Lossless first; the archive sends what it holds. Each gets a presentation context of its own, as in one context with several
# the other side picks a single one for all images.
_COMPRESSED = (
    "1.2.840.10008.1.2.4.70",   # JPEG Lossless, the commonest in archives
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.90",   # JPEG 2000
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.80",   # JPEG-LS
    "1.2.840.10008.1.2.5",      # RLE
    "1.2.840.10008.1.2.4.50",   # JPEG Baseline
)
TRANSFER_SYNTAXES = (*_UNCOMPRESSED, *_COMPRESSED)


def _entity(settings: DimseSettings):
    """Our application entity with every wait bounded."""
    from pynetdicom import AE

    ae = AE(ae_title=settings.our_ae)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = settings.timeout_s
    return ae


def storage_contexts(sop_classes: Sequence[str], *, asking: bool) -> list:
    """Presentation contexts for receiving images of these classes in any common transfer syntax: as the side that asked for the
    association (C-GET, at most 15 classes), or as the one that was asked (C-MOVE)."""
    from pynetdicom import build_context

    choices = [list(_UNCOMPRESSED), *([other] for other in _COMPRESSED)] if asking else [list(TRANSFER_SYNTAXES)]
    return [build_context(sop_class, syntaxes) for sop_class in sop_classes for syntaxes in choices]


@contextmanager
def associate(settings: DimseSettings, contexts: Sequence, roles: Sequence = (), handlers: Sequence = ()) -> Iterator:
    """Yield an established association; released when the block ends well, aborted when it raises.

    Raises ConnectionLost when the archive cannot be reached, PacsError when it refuses us.
    """
    ae = _entity(settings)
    tls = (_client_context(settings.tls), settings.tls.server_name or settings.host) if settings.tls else None
    try:
        link = ae.associate(settings.host, settings.port, contexts=list(contexts), ae_title=settings.ae_title, ext_neg=list(roles) or None,
                            evt_handlers=list(handlers) or None, tls_args=tls)
    except (OSError, RuntimeError) as error:
        raise ConnectionLost(f"{settings.name} cannot be reached ({error.__class__.__name__}).", _reach(settings)) from error
    if not link.is_established:
        if link.is_rejected:
            raise PacsError(f"{settings.name} refuses the application entity {settings.our_ae}.",
                            f"Ask those who run it to register {settings.our_ae} with this machine's address, and check ae_title.")
        raise ConnectionLost(f"{settings.name} cannot be reached, or speaks something else there.", _reach(settings))
    try:
        yield link
    except BaseException:
        link.abort()
        raise
    if link.is_established:
        link.release()


@contextmanager
def listening(settings: DimseSettings, contexts: Sequence, handlers: Sequence, turned_away: set[str]) -> Iterator[None]:
    """Listen on store_port for what the archive sends to us during a C-MOVE; who comes from another address is put into `turned_away`.

    Raises PacsError when the port is taken, ConfigError for a name in the settings that has no address.
    """
    ae = _entity(settings)
    ae.require_called_aet = True
    loopback = settings.host in ("127.0.0.1", "localhost")
    address = settings.listen or ("127.0.0.1" if loopback else "")
    senders = _networks((settings.host, *settings.sends_from))
    try:
        server = ae.make_server((address, settings.store_port), contexts=list(contexts), evt_handlers=list(handlers),
                                ssl_context=_server_context(settings.tls) if settings.tls else None, server_class=_guarded(senders, turned_away))
    except OSError as error:
        raise PacsError(f"Port {settings.store_port} of this machine cannot be listened on ({error.strerror}).",
                        "End the other program that uses it, or set another store_port here and at the archive.") from error
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        BaseServer.shutdown(server)   # pynetdicom's own looks for it among those that it started itself
        server.server_close()


def _guarded(senders: Sequence[IPv4Network | IPv6Network], turned_away: set[str]) -> type:
    """A server that hears `senders` alone: others are turned away before a byte of theirs is read."""
    from pynetdicom.transport import ThreadedAssociationServer

    class Server(ThreadedAssociationServer):
        def get_request(self):
            connection, address = self.socket.accept()
            came_from = ip_address(address[0].partition("%")[0])
            came_from = getattr(came_from, "ipv4_mapped", None) or came_from
            if not any(came_from in network for network in senders):
                connection.close()
                turned_away.add(str(came_from))
                raise ConnectionRefusedError   # the server goes on
            if self.ssl_context:
                connection.settimeout(self.ae.network_timeout)   # others wait meanwhile
                try:
                    connection = self.ssl_context.wrap_socket(connection, server_side=True)
                except OSError:
                    connection.close()
                    raise
                connection.settimeout(None)
            return connection, address

    return Server


def _networks(names: Sequence[str]) -> list[IPv4Network | IPv6Network]:
    """The addresses of some hosts; an address or a network (10.0.0.0/24) is itself."""
    found = []
    for name in names:
        try:
            found.append(ip_network(name, strict=False))
        except ValueError:
            try:
                found += [ip_network(answer[4][0].partition("%")[0]) for answer in socket.getaddrinfo(name, None)]
            except OSError:
                raise ConfigError(f"{name} is no address, and no name that this machine knows.",
                                  "Correct host or sends_from in the settings.") from None
    return found


def check_status(settings: DimseSettings, status, doing: str) -> int:
    """The status of a response: 0, a warning, or pending. Raises ConnectionLost when there is none, PacsError for a failure."""
    if "Status" not in status:
        raise ConnectionLost(f"{settings.name} stopped answering while {doing}.", "Try again; raise timeout_s if it is slow.")
    code = int(status.Status)
    if code in (0x0000, 0xFF00, 0xFF01) or code >> 12 == 0xB or code in (0x0001, 0x0107, 0x0116):
        return code
    if code == 0xA801:
        raise PacsError(f"{settings.name} does not know where {settings.our_ae} is, so it cannot send to it.",
                        f"Ask those who run it to register {settings.our_ae} with this machine's address and port {settings.store_port}, "
                        'or set retrieve = "get".')
    if code >> 8 == 0xA7:
        raise PacsError(f"{settings.name} is out of resources (status {code:04X}) while {doing}.", "Try again later.")
    raise PacsError(f"{settings.name} answered with failure {code:04X} while {doing}.", "Its own log says why.")


def _client_context(tls: Tls) -> ssl.SSLContext:
    return _with_certificate(_trusting(ssl.Purpose.SERVER_AUTH, tls), tls)


def _server_context(tls: Tls) -> ssl.SSLContext:
    context = _with_certificate(_trusting(ssl.Purpose.CLIENT_AUTH, tls), tls)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def _trusting(purpose: ssl.Purpose, tls: Tls) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(purpose, cafile=str(tls.ca))
    except ssl.SSLError:
        raise ConfigError(f"{tls.ca.name} holds no certificate.", "ca must be a certificate file in PEM form.") from None


def _with_certificate(context: ssl.SSLContext, tls: Tls) -> ssl.SSLContext:
    if tls.certificate:
        try:
            context.load_cert_chain(tls.certificate, tls.key)
        except ssl.SSLError:
            raise ConfigError(f"{tls.certificate.name} and {tls.key.name} do not belong together, or are not in PEM form.",
                              "Give the certificate and its own key, without a passphrase.") from None
    return context


def _reach(settings: DimseSettings) -> str:
    tls = " and the certificates under tls" if settings.tls else ", and whether it wants tls"
    return f"Check host and port ({settings.host}:{settings.port}) in the settings{tls}."
