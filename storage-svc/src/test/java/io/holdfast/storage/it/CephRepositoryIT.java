package io.holdfast.storage.it;

/** What holds on every S3 server, on Ceph's. */
class CephRepositoryIT extends RepositoryCases {
    @Override
    Server start() throws Exception {
        return CephServer.forTests(base.resolve("ceph"));
    }
}
