/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Lanes over a net_ring device, whose queues give back what is sent to them: steering, what goes to
 * every lane, full rings, order of frames that were refused, and that no mbuf is ever lost. Needs
 * neither root nor huge pages.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/dpdk/eal.h"
#include "dataplane/dpdk/lane.h"

#define LANES 2
#define FRAME_BYTES 60

static struct device dev;
static const struct net_steering steering = {LANES, NET_STEERING_ENTRIES};
static struct lane *lanes[LANES];
static unsigned woken[LANES];

static void note_woken(void *ctx, unsigned lane)
{
    assert_ptr_equal(ctx, &dev);
    woken[lane]++;
}

/* A TCP segment over IPv4 from a port; with `number` as its payload. */
static void segment(uint8_t frame[FRAME_BYTES], uint16_t port, uint16_t number)
{
    memset(frame, 0, FRAME_BYTES);
    frame[12] = 8;
    frame[14] = 0x45;
    frame[17] = FRAME_BYTES - 14;
    frame[22] = 64;
    frame[23] = 6;
    memcpy(frame + 26, (uint8_t[]){10, 0, 0, 2, 10, 0, 0, 1}, 8);
    frame[34] = (uint8_t)(port >> 8);
    frame[35] = (uint8_t)port;
    frame[36] = 2181 >> 8;
    frame[37] = 2181 & 0xff;
    frame[46] = 0x50;
    frame[54] = (uint8_t)(number >> 8);
    frame[55] = (uint8_t)number;
}

static unsigned number_of(const struct net_frame *f)
{
    return (unsigned)f->data[54] << 8 | f->data[55];
}

static void arp_reply(uint8_t frame[FRAME_BYTES])
{
    memset(frame, 0, FRAME_BYTES);
    memcpy(frame + 12, (uint8_t[]){8, 6, 0, 1, 8, 0, 6, 4, 0, 2}, 10);
}

static struct rte_mbuf *mbuf_of(const uint8_t *frame)
{
    struct rte_mbuf *m = rte_pktmbuf_alloc(dev.rx_pool[0]);
    assert_non_null(m);
    memcpy(rte_pktmbuf_append(m, FRAME_BYTES), frame, FRAME_BYTES);
    return m;
}

/* Have the device receive a frame on a queue. */
static void inject(uint16_t queue, const uint8_t *frame)
{
    struct rte_mbuf *m = mbuf_of(frame);
    assert_int_equal(rte_eth_tx_burst(dev.id, queue, &m, 1), 1);
}

/* A port whose flow belongs to a lane. */
static uint16_t port_for(unsigned lane)
{
    uint8_t frame[FRAME_BYTES];
    for (uint16_t port = 40000;; port++) {
        segment(frame, port, 0);
        if (net_frame_core(frame, FRAME_BYTES, steering) == lane)
            return port;
    }
}

static uint64_t counter(unsigned lane, size_t offset)
{
    return atomic_load((_Atomic uint64_t *)((char *)lane_counters(lanes[lane]) + offset));
}
#define COUNTER(lane, name) counter(lane, offsetof(struct lane_counters, name))

static int set_up(void **state)
{
    (void)state;
    char error[512];
    struct device_config config = {.name = "net_ring0", .mtu_bytes = 1500, .lanes = LANES};
    memset(woken, 0, sizeof(woken));
    memset(&dev, 0, sizeof(dev));
    if (device_open(&dev, &config, error, sizeof(error)) ||
        lanes_create(&dev, lanes, note_woken, &dev)) {
        print_error("%s\n", error);
        return -1;
    }
    assert_true(device_check_link(&dev, 1));
    assert_int_equal(dev.queues, LANES);
    return 0;
}

/* Whatever the test did, all mbufs are back in their pools. */
static int tear_down(void **state)
{
    (void)state;
    struct net_frame *frames;
    unsigned idle = 0;
    for (unsigned i = 0; i < LANES; i++)
        lane_release(lanes[i]);
    for (unsigned i = 0; idle < 2 * LANES; i = (i + 1) % LANES) {
        idle = lane_receive(lanes[i], &frames) ? 0 : idle + 1;
        lane_release(lanes[i]);
    }
    struct rte_mempool *pools[2 * LANES];
    for (unsigned i = 0; i < LANES; i++) {
        pools[2 * i] = dev.rx_pool[i];
        pools[2 * i + 1] = dev.tx_pool[i];
    }
    lanes_destroy(&dev, lanes);
    int result = 0;
    for (unsigned i = 0; i < 2 * LANES; i++)
        if (rte_mempool_in_use_count(pools[i])) {
            print_error("%u mbufs of %s are lost\n", rte_mempool_in_use_count(pools[i]),
                        pools[i]->name);
            result = -1;
        }
    (void)rte_eth_dev_stop(dev.id);
    for (unsigned i = 0; i < 2 * LANES; i++)
        rte_mempool_free(pools[i]);
    return result;
}

static void a_frame_reaches_the_lane_that_owns_its_flow_whichever_queue_it_came_by(void **state)
{
    (void)state;
    uint8_t frame[FRAME_BYTES];
    struct net_frame *frames;
    for (unsigned owner = 0; owner < LANES; owner++) {
        for (uint16_t queue = 0; queue < LANES; queue++) {
            segment(frame, port_for(owner), (uint16_t)(owner * 10 + queue));
            inject(queue, frame);
        }
    }
    /*
     * Lane 0 hands one over; lane 1 takes it and hands one over; lane 0 takes that in its next
     * turn.
     */
    assert_int_equal(lane_receive(lanes[0], &frames), 1);
    assert_int_equal(number_of(&frames[0]), 0);
    assert_int_equal(woken[1], 1);
    assert_int_equal(lane_receive(lanes[1], &frames), 2);
    assert_int_equal(number_of(&frames[0]), 11);
    assert_int_equal(number_of(&frames[1]), 10);
    assert_true(lane_has_work(lanes[0]));
    lane_release(lanes[0]);
    assert_int_equal(lane_receive(lanes[0], &frames), 1);
    assert_int_equal(number_of(&frames[0]), 1);
    assert_int_equal(frames[0].len, FRAME_BYTES);
    assert_int_equal(COUNTER(0, handed_over), 1);
    assert_int_equal(COUNTER(0, taken_over), 1);
    assert_int_equal(woken[0], 1);
    assert_false(lane_has_work(lanes[0]) || lane_has_work(lanes[1]));
}

static void an_arp_reply_reaches_every_lane(void **state)
{
    (void)state;
    uint8_t frame[FRAME_BYTES];
    struct net_frame *frames;
    arp_reply(frame);
    inject(1, frame);
    assert_int_equal(lane_receive(lanes[1], &frames), 1);
    assert_memory_equal(frames[0].data, frame, FRAME_BYTES);
    lane_release(lanes[1]); /* the other lane's reference keeps the bytes */
    assert_int_equal(lane_receive(lanes[0], &frames), 1);
    assert_memory_equal(frames[0].data, frame, FRAME_BYTES);
}

static void a_chained_frame_arrives_in_one_piece(void **state)
{
    (void)state;
    uint8_t frame[FRAME_BYTES];
    struct net_frame *frames;
    segment(frame, port_for(0), 7);
    struct rte_mbuf *head = rte_pktmbuf_alloc(dev.rx_pool[0]),
                    *tail = rte_pktmbuf_alloc(dev.rx_pool[0]);
    memcpy(rte_pktmbuf_append(head, 30), frame, 30);
    memcpy(rte_pktmbuf_append(tail, FRAME_BYTES - 30), frame + 30, FRAME_BYTES - 30);
    assert_int_equal(rte_pktmbuf_chain(head, tail), 0);
    assert_int_equal(rte_eth_tx_burst(dev.id, 0, &head, 1), 1);
    assert_int_equal(lane_receive(lanes[0], &frames), 1);
    assert_int_equal(frames[0].len, FRAME_BYTES);
    assert_memory_equal(frames[0].data, frame, FRAME_BYTES);
    assert_int_equal(COUNTER(0, segmented), 1);
    assert_int_equal(COUNTER(0, oversized) + COUNTER(0, dropped_segments), 0);
}

/* A buffer has room for more than the MTU; a device that fills it is noticed, and served. */
static void a_frame_longer_than_the_mtu_is_counted(void **state)
{
    (void)state;
    uint8_t frame[FRAME_BYTES];
    struct net_frame *frames;
    segment(frame, port_for(0), 7);
    for (unsigned more = 0; more <= 1; more++) {
        struct rte_mbuf *m = mbuf_of(frame);
        memset(rte_pktmbuf_append(m, (uint16_t)(1514 + more - FRAME_BYTES)), 0,
               1514 + more - FRAME_BYTES);
        assert_int_equal(rte_eth_tx_burst(dev.id, 0, &m, 1), 1);
        assert_int_equal(lane_receive(lanes[0], &frames), 1);
        assert_int_equal(frames[0].len, 1514 + more);
        assert_int_equal(COUNTER(0, oversized), more);
        lane_release(lanes[0]);
    }
    assert_int_equal(COUNTER(0, segmented), 0);
}

static void a_full_ring_to_another_lane_drops_and_counts(void **state)
{
    (void)state;
    uint8_t frame[FRAME_BYTES];
    struct net_frame *frames;
    segment(frame, port_for(1), 0);
    for (unsigned i = 0; i < LANE_RING_ENTRIES + 100; i++) {
        inject(0, frame);
        if (i % 32 == 31)
            (void)lane_receive(lanes[0], &frames);
    }
    (void)lane_receive(lanes[0], &frames);
    uint64_t dropped = COUNTER(0, dropped_arrived_full), handed = COUNTER(0, handed_over),
             taken = 0;
    assert_true(dropped > 0);
    assert_int_equal(dropped + handed, LANE_RING_ENTRIES + 100);
    for (unsigned n; (n = lane_receive(lanes[1], &frames)) > 0; lane_release(lanes[1]))
        taken += n;
    assert_int_equal(taken, handed);
}

static bool send_number(struct net_output *output, uint16_t number)
{
    void *handle;
    uint8_t *data = output->frame_alloc(output->ctx, FRAME_BYTES, &handle);
    if (!data)
        return false;
    segment(data, port_for(0), number);
    output->frame_send(output->ctx, handle, FRAME_BYTES, NULL);
    return true;
}

/* Goal: a device that takes no more loses nothing and mixes nothing up; then frame_alloc refuses.
 * Method: send without receiving until that happens, then receive all: each number once, in
 * order. */
static void frames_that_the_device_refuses_are_kept_in_order(void **state)
{
    (void)state;
    struct net_output output = lane_output(lanes[0]);
    struct net_frame *frames;
    uint16_t sent = 0, received = 0;
    while (send_number(&output, sent)) {
        sent++;
        if (sent % 50 == 0)
            (void)lane_transmit(lanes[0]);
    }
    assert_true(sent >= LANE_PENDING_MAX);
    assert_true(COUNTER(0, refused) > 0 && COUNTER(0, alloc_failed) == 1);
    assert_true(lane_has_work(lanes[0]));
    for (unsigned idle = 0; idle < 3; idle++) {
        unsigned n = lane_receive(lanes[0], &frames);
        for (unsigned i = 0; i < n; i++)
            assert_int_equal(number_of(&frames[i]), received++);
        lane_release(lanes[0]);
        (void)lane_transmit(lanes[0]);
        idle = n ? 0 : idle;
    }
    assert_int_equal(received, sent);
    assert_true(send_number(&output, 0));
    assert_int_equal(lane_transmit(lanes[0]), 0);
}

/* Goal: what cannot leave because the link is down does not pile up; TCP will send it again. */
static void with_the_link_down_refused_frames_are_dropped(void **state)
{
    (void)state;
    struct net_output output = lane_output(lanes[0]);
    uint16_t sent = 0;
    while (send_number(&output, sent))
        sent++;
    assert_true(lane_transmit(lanes[0]) > 0);
    atomic_store(&dev.link_up, 0);
    assert_int_equal(lane_transmit(lanes[0]), 0);
    assert_false(lane_has_work(lanes[0]));
}

int main(void)
{
    char error[512], words[128];
    snprintf(words, sizeof(words),
             "--no-huge --no-pci --no-shconf --no-telemetry --file-prefix=sengi-test-%d "
             "--vdev=net_ring0",
             getpid());
    if (eal_start(words, 512, error, sizeof(error))) {
        fprintf(stderr, "%s\n", error);
        return 1;
    }
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_frame_reaches_the_lane_that_owns_its_flow_whichever_queue_it_came_by),
        TEST(an_arp_reply_reaches_every_lane),
        TEST(a_chained_frame_arrives_in_one_piece),
        TEST(a_frame_longer_than_the_mtu_is_counted),
        TEST(a_full_ring_to_another_lane_drops_and_counts),
        TEST(frames_that_the_device_refuses_are_kept_in_order),
        TEST(with_the_link_down_refused_frames_are_dropped),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    eal_stop();
    return failed;
}
