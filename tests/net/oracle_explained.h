/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Where our answers differ from those of Linux (6.x), and why. For test_oracle.c; the first match
 * explains.
 */
#ifndef SENGI_TESTS_NET_ORACLE_EXPLAINED_H
#define SENGI_TESTS_NET_ORACLE_EXPLAINED_H

#include "tests/net/oracle.h"

#define ALL UINT32_MAX
#define BIT(x) (1u << (x))

struct explanation {
    uint32_t states, classes, positions, acks; /* masks */
    const char *why;
    unsigned used;
};

/* Bits of struct explanation's masks, in the order of the tables of test_oracle.c. */
enum { C_ACK, C_DATA, C_FIN, C_DATA_FIN, C_RST, C_RST_ACK, C_SYN, C_SYN_ACK, C_NONE };
enum { P_OLD, P_BEFORE, P_EXACT, P_AHEAD, P_BEYOND };
enum { A_VERY_OLD, A_OLD, A_UNA, A_NXT, A_BEYOND };
#define RSTS (BIT(C_RST) | BIT(C_RST_ACK))
#define SYNS (BIT(C_SYN) | BIT(C_SYN_ACK))
#define DATA (BIT(C_DATA) | BIT(C_DATA_FIN))
#define FINS (BIT(C_FIN) | BIT(C_DATA_FIN))
#define AFTER_FIN (BIT(CLOSEW) | BIT(CLOSING) | BIT(LASTACK))
#define OUTSIDE (BIT(P_OLD) | BIT(P_BEFORE) | BIT(P_BEYOND))

static struct explanation explained[] = {
    {BIT(S_RCVD), BIT(C_ACK) | DATA | FINS, OUTSIDE, BIT(A_UNA),
     "RFC 9293 3.10.7.4 looks at the sequence number first (an ACK), Linux at the ACK number (a "
     "RST)",
     0},
    {BIT(S_RCVD), BIT(C_SYN_ACK), ALL, BIT(A_UNA),
     "a SYN-ACK to a listener's half-open connection: a challenge ACK (RFC 5961 4), in Linux a RST "
     "for its ACK "
     "number",
     0},
    {BIT(S_RCVD), BIT(C_SYN), BIT(P_EXACT) | BIT(P_AHEAD), BIT(A_UNA),
     "another SYN within the window: a challenge ACK; Linux goes back to LISTEN (RFC 9293), so "
     "that a forged SYN "
     "ends a hand-shake",
     0},
    {BIT(S_RCVD) | BIT(FIN2), BIT(C_NONE), BIT(P_OLD) | BIT(P_BEYOND), BIT(A_UNA),
     "without ACK, RST and SYN a segment is dropped in silence everywhere, as Linux does in its "
     "other states",
     0},
    {BIT(S_RCVD), BIT(C_DATA), BIT(P_EXACT), BIT(A_NXT),
     "Linux acknowledges the first segments of a connection at once, we delay for an answer to "
     "ride on",
     0},
    {BIT(ESTAB) | BIT(S_RCVD), FINS, BIT(P_BEFORE) | BIT(P_EXACT), BIT(A_UNA) | BIT(A_NXT),
     "we acknowledge a FIN at once, Linux delays it like data when quick ACKs are off", 0},
    {BIT(ESTAB) | BIT(CLOSEW) | BIT(FIN1) | BIT(CLOSING) | BIT(LASTACK) | BIT(FIN2),
     BIT(C_ACK) | BIT(C_DATA) | BIT(C_FIN), BIT(P_EXACT), BIT(A_OLD),
     "an ACK below the ISN but within the largest window is RFC 5961 5.2's old ACK to us; Linux "
     "keeps count of "
     "bytes acknowledged and challenges it",
     0},
    {BIT(FIN1) | BIT(FIN2), FINS, BIT(P_AHEAD), BIT(A_UNA),
     "a FIN beyond the next byte proves data after close: Linux resets for the proof, we when the "
     "data comes",
     0},
    {BIT(FIN2), RSTS, OUTSIDE, BIT(A_UNA),
     "Linux keeps an orphan in FIN-WAIT-2 as a TIME-WAIT entry, which answers a RST outside the "
     "window",
     0},
    {BIT(FIN2), RSTS, BIT(P_AHEAD), BIT(A_UNA),
     "and which any RST in the window ends; RFC 5961 3.2 wants a challenge ACK", 0},
    {BIT(FIN2), SYNS, BIT(P_EXACT) | BIT(P_AHEAD), BIT(A_UNA),
     "and which a SYN in the window ends; RFC 5961 4.2 wants a challenge ACK", 0},
    {BIT(FIN2), BIT(C_ACK) | DATA | FINS, BIT(P_EXACT), BIT(A_VERY_OLD) | BIT(A_BEYOND),
     "and which does not look at ACK numbers; RFC 5961 5.2 wants a challenge ACK", 0},
    {AFTER_FIN, DATA, BIT(P_BEFORE), BIT(A_UNA),
     "data that runs past the peer's own FIN: we acknowledge and discard it, Linux resets", 0},
    {AFTER_FIN, DATA | FINS, BIT(P_EXACT) | BIT(P_AHEAD), BIT(A_UNA) | BIT(A_NXT) | BIT(A_OLD),
     "data or a FIN after the peer's FIN: we answer with an ACK (RFC 9293: stay in the state, tell "
     "the peer), Linux "
     "is silent when it has closed too",
     0},
    {AFTER_FIN, RSTS, BIT(P_BEFORE), BIT(A_UNA),
     "Linux accepts a RST at the FIN's own number for the sake of macOS; RFC 5961 wants exactly "
     "the next",
     0},
    {BIT(TIMEW), BIT(C_ACK), ALL, ALL,
     "an ACK without data needs no answer in TIME-WAIT: two stacks answering each other would not "
     "end",
     0},
    {BIT(TIMEW), RSTS, BIT(P_EXACT), BIT(A_UNA),
     "RFC 1337: a RST does not end TIME-WAIT; in Linux that is an option", 0},
    {BIT(TIMEW), BIT(C_SYN), BIT(P_AHEAD) | BIT(P_BEYOND), BIT(A_UNA),
     "both reuse the entry; the probe that follows meets a half-open connection, where the order "
     "of checks differs",
     0},
};

#endif
