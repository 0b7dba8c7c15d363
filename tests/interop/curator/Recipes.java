// SPDX-License-Identifier: Apache-2.0
// Copyright the Sengi authors
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.api.transaction.CuratorTransactionResult;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.CuratorCacheListener;
import org.apache.curator.framework.recipes.cache.PathChildrenCache;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.retry.RetryOneTime;
import org.apache.curator.utils.ZKPaths;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.ZooDefs;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;

/**
 * Curator's recipes (Debian's 5.4.0, over Debian's Java client) against the server at args[0].
 * Each check is counted; the last line says how many passed and failed.
 */
public final class Recipes {
    private static final int WAIT_S = 20;
    private static int passed;
    private static int failed;
    private static String address;

    private static synchronized void check(boolean ok, String what) {
        if (ok) {
            passed++;
        } else {
            failed++;
            System.out.println("FAIL: " + what);
        }
    }

    private static CuratorFramework client() throws Exception {
        CuratorFramework c = CuratorFrameworkFactory.newClient(address, 10000, 10000, new RetryOneTime(100));
        c.start();
        check(c.blockUntilConnected(WAIT_S, TimeUnit.SECONDS), "connected");
        return c;
    }

    /** Ends the session behind the client's back, by taking it over and closing it. */
    private static void killSession(CuratorFramework c) throws Exception {
        ZooKeeper own = c.getZookeeperClient().getZooKeeper();
        CountDownLatch connected = new CountDownLatch(1);
        ZooKeeper twin = new ZooKeeper(address, 10000, e -> {
            if (e.getState() == Watcher.Event.KeeperState.SyncConnected) {
                connected.countDown();
            }
        }, own.getSessionId(), own.getSessionPasswd());
        check(connected.await(WAIT_S, TimeUnit.SECONDS), "session taken over");
        twin.close();
    }

    private static void leaderLatch() throws Exception {
        List<CuratorFramework> clients = new ArrayList<>();
        List<LeaderLatch> latches = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            clients.add(client());
            latches.add(new LeaderLatch(clients.get(i), "/latch", "id" + i));
            latches.get(i).start();
        }
        for (int round = 0; round < 3; round++) {
            LeaderLatch leader = null;
            for (int wait = 0; wait < WAIT_S * 50 && leader == null; wait++) {
                for (LeaderLatch l : latches) {
                    leader = l.hasLeadership() ? l : leader;
                }
                Thread.sleep(20);
            }
            check(leader != null, "round " + round + " has a leader");
            if (leader == null) {
                return;
            }
            int leaders = 0;
            for (LeaderLatch l : latches) {
                leaders += l.hasLeadership() ? 1 : 0;
            }
            check(leaders == 1, "one leader, not " + leaders);
            check(latches.get(0).getLeader().getId().equals(leader.getId()), "all name the same leader");
            check(latches.get(0).getParticipants().size() == latches.size(), "participants");
            latches.remove(leader);
            leader.close();
        }
        for (CuratorFramework c : clients) {
            c.close();
        }
    }

    private static void mutex() throws Exception {
        final int workers = 4;
        final int rounds = 15;
        AtomicInteger inside = new AtomicInteger();
        AtomicInteger worst = new AtomicInteger();
        AtomicInteger done = new AtomicInteger();
        int[] unguarded = new int[1];
        List<Thread> threads = new ArrayList<>();
        for (int i = 0; i < workers; i++) {
            Thread t = new Thread(() -> {
                try (CuratorFramework c = client()) {
                    InterProcessMutex lock = new InterProcessMutex(c, "/mutex");
                    for (int r = 0; r < rounds; r++) {
                        lock.acquire();
                        worst.accumulateAndGet(inside.incrementAndGet(), Math::max);
                        unguarded[0]++;
                        inside.decrementAndGet();
                        lock.release();
                        done.incrementAndGet();
                    }
                } catch (Exception e) {
                    check(false, "mutex: " + e);
                }
            });
            threads.add(t);
            t.start();
        }
        for (Thread t : threads) {
            t.join(60000);
        }
        check(worst.get() == 1, "at most one inside, saw " + worst.get());
        check(done.get() == workers * rounds && unguarded[0] == done.get(), "rounds " + done.get());
        try (CuratorFramework a = client(); CuratorFramework b = client()) {
            InterProcessMutex held = new InterProcessMutex(a, "/mutex");
            InterProcessMutex wanted = new InterProcessMutex(b, "/mutex");
            held.acquire();
            check(!wanted.acquire(200, TimeUnit.MILLISECONDS), "held by another");
            killSession(a);
            check(wanted.acquire(WAIT_S, TimeUnit.SECONDS), "free after the holder's session ended");
            wanted.release();
        }
    }

    private static void pathChildrenCache() throws Exception {
        BlockingQueue<String> events = new LinkedBlockingQueue<>();
        try (CuratorFramework c = client()) {
            c.create().creatingParentsIfNeeded().forPath("/pcc/first", "1".getBytes());
            try (PathChildrenCache cache = new PathChildrenCache(c, "/pcc", true)) {
                cache.getListenable().addListener((f, e) -> {
                    if (e.getData() != null) {
                        events.add(e.getType() + " " + e.getData().getPath() + "=" + new String(e.getData().getData()));
                    }
                });
                cache.start(PathChildrenCache.StartMode.BUILD_INITIAL_CACHE);
                check(cache.getCurrentData().size() == 1, "initial size " + cache.getCurrentData().size());
                c.create().forPath("/pcc/second", "2".getBytes());
                expect(events, "CHILD_ADDED /pcc/second=2");
                c.setData().forPath("/pcc/second", "22".getBytes());
                expect(events, "CHILD_UPDATED /pcc/second=22");
                c.delete().forPath("/pcc/first");
                expect(events, "CHILD_REMOVED /pcc/first=1");
                check(new String(cache.getCurrentData("/pcc/second").getData()).equals("22"), "cached value");
            }
        }
    }

    private static void expect(BlockingQueue<String> events, String want) throws Exception {
        String got = events.poll(WAIT_S, TimeUnit.SECONDS);
        check(want.equals(got), "event " + got + ", want " + want);
    }

    /** Uses persistent recursive watches (addWatch). */
    private static void curatorCache() throws Exception {
        BlockingQueue<String> events = new LinkedBlockingQueue<>();
        try (CuratorFramework c = client(); CuratorFramework writer = client()) {
            writer.create().creatingParentsIfNeeded().forPath("/cc/a", "1".getBytes());
            CountDownLatch ready = new CountDownLatch(1);
            CuratorCache cache = CuratorCache.build(c, "/cc");
            cache.listenable().addListener(CuratorCacheListener.builder()
                .forInitialized(ready::countDown)
                .forCreates(n -> events.add("created " + n.getPath()))
                .forChanges((o, n) -> events.add("changed " + n.getPath() + "=" + new String(n.getData())))
                .forDeletes(n -> events.add("deleted " + n.getPath()))
                .afterInitialized().build());
            cache.start();
            check(ready.await(WAIT_S, TimeUnit.SECONDS), "cache initialised");
            check(cache.size() == 2, "initial size " + cache.size());
            writer.create().forPath("/cc/a/deep", "x".getBytes());
            expect(events, "created /cc/a/deep");
            writer.setData().forPath("/cc/a/deep", "y".getBytes());
            expect(events, "changed /cc/a/deep=y");
            writer.delete().deletingChildrenIfNeeded().forPath("/cc/a");
            expect(events, "deleted /cc/a/deep");
            expect(events, "deleted /cc/a");
            cache.close();
        }
    }

    private static void persistentNode() throws Exception {
        try (CuratorFramework c = client(); CuratorFramework other = client()) {
            PersistentNode node = new PersistentNode(c, CreateMode.EPHEMERAL, false, "/pn/node", "v".getBytes());
            node.start();
            check(node.waitForInitialCreate(WAIT_S, TimeUnit.SECONDS), "created");
            check(new String(other.getData().forPath("/pn/node")).equals("v"), "value");
            other.delete().forPath("/pn/node");
            check(appears(other, 0), "comes back after a deletion");
            long owner = other.checkExists().forPath("/pn/node").getEphemeralOwner();
            killSession(c);
            check(appears(other, owner), "comes back with a new session");
            node.close();
            check(other.checkExists().forPath("/pn/node") == null, "gone after close");
        }
    }

    private static boolean appears(CuratorFramework c, long notOwner) throws Exception {
        for (int i = 0; i < WAIT_S * 50; i++) {
            Stat s = c.checkExists().forPath("/pn/node");
            if (s != null && s.getEphemeralOwner() != notOwner) {
                return true;
            }
            Thread.sleep(20);
        }
        return false;
    }

    /** What recipes are built from: parents as containers, protected creates, transactions, TTL, removal of watches. */
    private static void framework() throws Exception {
        try (CuratorFramework c = client()) {
            String path = c.create().creatingParentContainersIfNeeded().withProtection()
                .withMode(CreateMode.EPHEMERAL_SEQUENTIAL).forPath("/fw/box/p-");
            check(path.matches("/fw/box/_c_[-0-9a-f]+-p-0000000000"), path);
            check(c.checkExists().forPath("/fw/box").getEphemeralOwner() == 0, "a container shows no owner");
            List<CuratorTransactionResult> r = c.transaction().forOperations(
                c.transactionOp().create().forPath("/tx", "1".getBytes()),
                c.transactionOp().setData().withVersion(0).forPath("/tx", "22".getBytes()),
                c.transactionOp().check().withVersion(1).forPath("/tx"),
                c.transactionOp().create().forPath("/tx/child"),
                c.transactionOp().delete().forPath("/tx/child"));
            check(r.size() == 5 && r.get(1).getResultStat().getVersion() == 1, "transaction of five");
            try {
                c.transaction().forOperations(c.transactionOp().create().forPath("/tx2"),
                    c.transactionOp().delete().forPath("/missing"));
                check(false, "a failing transaction must throw");
            } catch (KeeperException.NoNodeException e) {
                check(e.getResults().size() == 2, "results of the failed transaction");
            }
            check(c.checkExists().forPath("/tx2") == null, "rolled back");
            Stat st = new Stat();
            c.create().withTtl(3600000).storingStatIn(st).withMode(CreateMode.PERSISTENT_WITH_TTL).forPath("/ttl");
            check(st.getCzxid() > 0 && st.getEphemeralOwner() == 0, "createTTL");
            c.setACL().withACL(ZooDefs.Ids.READ_ACL_UNSAFE).forPath("/ttl");
            check(c.getACL().forPath("/ttl").equals(ZooDefs.Ids.READ_ACL_UNSAFE), "ACL");
            ZooKeeper zk = c.getZookeeperClient().getZooKeeper();
            check(zk.getEphemerals().equals(Collections.singletonList(path)), "getEphemerals " + zk.getEphemerals());
            check(zk.getAllChildrenNumber("/tx") == 0, "getAllChildrenNumber");
            check(zk.whoAmI().get(0).getAuthScheme().equals("ip"), "whoAmI");
            check(zk.getConfig(false, new Stat()).length == 0, "a standalone server has no configuration");
            BlockingQueue<String> events = new LinkedBlockingQueue<>();
            Watcher w = e -> events.add(e.getType() + " " + e.getPath());
            zk.exists("/tx", w);
            zk.removeWatches("/tx", w, Watcher.WatcherType.Any, false);
            expect(events, "DataWatchRemoved /tx");
        }
    }

    public static void main(String[] args) throws Exception {
        address = args[0];
        leaderLatch();
        mutex();
        pathChildrenCache();
        curatorCache();
        persistentNode();
        framework();
        System.out.println(passed + " passed, " + failed + " failed");
        System.exit(failed == 0 && passed > 0 ? 0 : 1);
    }

    private Recipes() {
    }
}
