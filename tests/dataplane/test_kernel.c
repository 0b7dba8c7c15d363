/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/* The kernel listener over loopback sockets, in one thread: core and control core are stepped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <sys/socket.h>

#include "dataplane/kernel.h"
#include "tests/dataplane/rig_client.h"

#define TURNS_MAX 10000
#define PER_ADDRESS_MAX 3

static struct kernel *kernel;
static struct peer_counts *peers;
static _Atomic uint32_t connections;
static uint16_t port;

static int start(void **state)
{
    (void)state;
    static struct sockaddr_in address;
    struct config config = rig_config();
    rig_start(&config, 1);
    peers = peer_counts_create();
    address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct kernel_config listen = {.address = (struct sockaddr *)&address,
                                   .address_size = sizeof address,
                                   .backlog = 50,
                                   .connections_per_address_max = PER_ADDRESS_MAX,
                                   .peers = peers,
                                   .connections = &connections};
    kernel = kernel_open(rig.cores[0], &listen, &port);
    return kernel ? 0 : -1;
}

static void turn(void)
{
    (void)rig_control();
    kernel_turn(kernel, 0);
}

static int stop(void **state)
{
    (void)state;
    for (int i = 0; i < TURNS_MAX && conn_first(rig.cores[0]); i++)
        turn();
    assert_int_equal(connections, 0);
    kernel_close(kernel);
    peer_counts_destroy(peers);
    rig_stop();
    return 0;
}

static int dial(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* Turns until n bytes came, or the end: @return bytes, or -1 when the connection was reset. */
static ssize_t receive(int fd, void *bytes, size_t n)
{
    size_t got = 0;
    for (int i = 0; i < TURNS_MAX && got < n; i++) {
        turn();
        ssize_t r = recv(fd, (uint8_t *)bytes + got, n - got, MSG_DONTWAIT);
        if (r == 0 || (r < 0 && errno != EAGAIN))
            return r == 0 ? (ssize_t)got : -1;
        got += r > 0 ? (size_t)r : 0;
    }
    return (ssize_t)got;
}

static void a_word_is_answered_and_closed_with_a_fin(void **state)
{
    (void)state;
    char answer[512];
    int fd = dial();
    assert_int_equal(send(fd, "srvr\n", 5, 0), 5);
    shutdown(fd, SHUT_WR);
    ssize_t n = receive(fd, answer, sizeof answer);
    assert_true(n > 20);
    assert_memory_equal(answer, "Zookeeper version:", 18);
    close(fd);
}

static void a_session_over_a_socket_reads_its_own_write(void **state)
{
    (void)state;
    static const uint8_t zeros[PASSWD_BYTES];
    struct rig_peer frames = {.xid = 1}; /* only its buffer is used */
    buffer_init(&frames.unread, 1 << 20);
    send_connect(&frames, 0, 10000, 0, (struct bytes){zeros, PASSWD_BYTES}, true);
    send_create(&frames, "/a", text("x"), 0);
    send_read(&frames, OP_GET_DATA, "/a", false);
    int fd = dial();
    ssize_t size = (ssize_t)frames.unread.size;
    assert_int_equal(send(fd, frames.unread.data, frames.unread.size, 0), size);
    buffer_free(&frames.unread);
    uint8_t got[41 + 20 + 6 + 20 + 5 + STAT_BYTES];
    assert_int_equal(receive(fd, got, sizeof got), sizeof got);
    assert_int_equal(be32_load(got), 37);
    assert_int_equal(be32_load(got + 41 + 16), 0);          /* create's err */
    assert_int_equal(be32_load(got + 41 + 26 + 20), 1);     /* the data's length */
    assert_int_equal(got[41 + 26 + 24], 'x');
    close(fd);
}

static void one_address_gets_no_more_connections_than_allowed_until_one_goes(void **state)
{
    (void)state;
    int fds[PER_ADDRESS_MAX];
    char byte;
    for (int i = 0; i < PER_ADDRESS_MAX; i++)
        fds[i] = dial();
    for (int i = 0; i < 10; i++)
        turn();
    assert_int_equal(connections, PER_ADDRESS_MAX);
    int refused = dial();
    assert_true(receive(refused, &byte, 1) <= 0);
    close(refused);
    close(fds[0]);
    for (int i = 0; i < TURNS_MAX && connections == PER_ADDRESS_MAX; i++)
        turn();
    fds[0] = dial();
    assert_int_equal(send(fds[0], "ruok", 4, 0), 4);
    char answer[128];
    assert_true(receive(fds[0], answer, sizeof answer) > 0);
    for (int i = 0; i < PER_ADDRESS_MAX; i++)
        close(fds[i]);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(a_word_is_answered_and_closed_with_a_fin),
        TEST(a_session_over_a_socket_reads_its_own_write),
        TEST(one_address_gets_no_more_connections_than_allowed_until_one_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
