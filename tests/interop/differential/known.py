# SPDX-License-Identifier: Apache-2.0
# Copyright the Sengi authors
"""The known differences between ZooKeeper 3.8.0 (reference) and 3.9 (what Sengi is), one by one.

Each has a name, what 3.8.0 does, what 3.9 does, and a test that recognises exactly this difference.
A difference that none of them recognises fails the run. Section numbers are those of the 3.9 protocol
notes: "exists needs READ", "several watch modes on one path" and so on are all changes between releases.
"""
import wire as w

# name: (3.8.0, 3.9)
TABLE = {
    'notification-zxid': ('events carry zxid -1', 'events carry the zxid of their txn; -1 only for catch-up'),
    'connect-response-read-only-byte': ('always sent', 'sent only to clients that sent theirs'),
    'exists-needs-read': ('exists answers without READ', 'exists on a node without READ: -102, no watch'),
    'event-filtered-by-read': ('events go to everybody', 'events only to those who may READ the node'),
    'multi-create-result-type': ('create2, createContainer, createTTL in a multi answer as type 1',
                                 'they answer as type 15 with a Stat'),
    'remove-watches-types-4-5': ('types 4 and 5 are unknown: -5', 'persistent and recursive watches'),
    'remove-watches-modes': ('types 1 and 2 also match persistent watches', 'standard watches only'),
    'check-watches-of-others': ('checkWatches finds the watches of other connections too', 'its own only'),
    'multi-null-acl': ('a null ACL list in a multi fails its operation: -114', 'it fails the decoding: -5'),
    'multi-create-flags': ('unknown flags of a create in a multi fail its operation: -8', 'they fail the decoding: -5'),
    'connection-stays': ('now and then a connection that is to be closed stays open (a race)', 'closed'),
    'check-watches-odd-path': ('checkWatches of null or of a path that does not begin with "/": -5', '-121'),
    'undecodable-write-takes-zxid': ('a write whose body does not decode takes a zxid',
                                     'it takes none, but for a multi'),
    'multi-null-acl-zxid': ('-', 'a multi with a null ACL list takes no zxid; ours takes one, as for all that it '
                            'cannot decode'),
    'echo-of-malformed-utf8': ('sync echoes U+FFFD for malformed bytes', 'the bytes of the client'),
}


def _entries_equal(reference, ours):
    """Multi results where 3.8.0's type 1 stands for our type 15 with the same path."""
    if len(reference) != len(ours):
        return False
    for a, b in zip(reference, ours):
        if a == b:
            continue
        if not (a[0] == w.CREATE and b[0] == w.CREATE2 and a[1] == b[1] == 0 and b[2][0] == a[2]):
            return False
    return True


def _explain_multi(request, reference, ours):
    ops = [(kind, w.Reader(body), path) for kind, body, path in request.meta.get('ops', ())]
    if reference[3] != 0 or reference[2] != ours[2]:
        return None
    for kind, r, _ in ops:
        if kind in (w.CREATE, w.CREATE2, w.CREATECONTAINER, w.CREATETTL):
            r.buf(), r.buf()
            acl, flags = r.acl(), r.i32()
            if acl is None:
                return 'multi-null-acl'
            if kind != w.CREATETTL and not 0 <= flags <= 4:
                return 'multi-create-flags'
    return None


UNDECODABLE_TAKES_ZXID = (w.CREATE, w.CREATE2, w.CREATECONTAINER, w.CREATETTL, w.DELETE, w.SETDATA, w.SETACL,
                          w.RECONFIG)


def _through_utf16(reference, ours):
    """Whether the reference is what Java makes of our bytes, by way of UTF-16 and back."""
    if not isinstance(reference, bytes) or not isinstance(ours, bytes):
        return False
    try:
        plain = max(ours.decode('utf-8', 'strict')) < '\uffff'
    except UnicodeDecodeError:
        plain = False
    return not plain and (b'\xef\xbf\xbd' in reference or b'\xed' in reference)


def explain_event(reference, ours):
    """Events of watches on paths that no node can have."""
    if reference[:3] != ours[:3] or ours[0] != 'event' or reference[4:] != ours[4:]:
        return None
    return 'echo-of-malformed-utf8' if _through_utf16(reference[3], ours[3]) else None


def _null_acl(request):
    """Whether a create of this multi has a null ACL list, and nothing before it fails to decode."""
    for kind, body, _ in request.meta.get('ops', ()):
        if kind in (w.CREATE, w.CREATE2, w.CREATECONTAINER):
            r = w.Reader(body)
            r.buf(), r.buf()
            if r.acl() is None:
                return True
    return False


def explain_reply_39(request, reference, ours):
    """The same with a 3.9 as the reference."""
    if request.op == w.SYNC and reference[2:4] == ours[2:4] and _through_utf16(reference[4], ours[4]):
        return 'echo-of-malformed-utf8'
    if request.op == w.MULTI and reference[2] + 1 == ours[2] and reference[3] == ours[3] == -5 and _null_acl(request):
        return 'multi-null-acl-zxid'
    return None


def explain_reply(request, reference, ours, modes):
    """
    Name of the known difference between two normalised replies, or None.

    modes: what kinds of watch this connection may hold at the request's path.
    """
    if reference[0] != 'reply' or ours[0] != 'reply' or reference[1] != ours[1]:
        return None
    if request.op in (w.CHECKWATCHES, w.REMOVEWATCHES) and reference[2] == ours[2]:
        if request.meta.get('type') in (4, 5) and reference[3] == -5 and ours[3] in (0, -121):
            return 'remove-watches-types-4-5'
        if request.meta.get('type') in (1, 2) and reference[3] == 0 and ours[3] == -121 and modes - {'standard'}:
            return 'remove-watches-modes'
        odd = request.path is None or not (request.path if isinstance(request.path, str) else '/').startswith('/')
        if odd and reference[3] == -5 and ours[3] == -121:
            return 'check-watches-odd-path'
    if request.op == w.CHECKWATCHES and reference[2] == ours[2] and reference[3] == 0 and ours[3] == -121:
        return 'check-watches-of-others'
    if request.op == w.MULTI and ours[3] == -5 and request.text == 'multi':
        return _explain_multi(request, reference, ours)
    if request.op in UNDECODABLE_TAKES_ZXID and reference[3] == ours[3] == -5 and reference[2] == ours[2] + 1 \
            and request.text.startswith('damaged'):
        return 'undecodable-write-takes-zxid'
    if request.op == w.EXISTS and reference[2] == ours[2] and reference[3] == 0 and ours[3] == w.NOAUTH:
        return 'exists-needs-read'
    if request.op == w.MULTI and reference[2:4] == ours[2:4] and reference[5] == ours[5] \
            and isinstance(reference[4], list) and isinstance(ours[4], list) \
            and _entries_equal(reference[4], ours[4]):
        return 'multi-create-result-type'
    if request.op == w.SYNC and reference[2:4] == ours[2:4] and _through_utf16(reference[4], ours[4]):
        return 'echo-of-malformed-utf8'
    return None


# Differences after which the two connections may hold different watches: they are made new.
LEAVES_WATCHES_APART = {'exists-needs-read', 'remove-watches-types-4-5', 'remove-watches-modes'}
