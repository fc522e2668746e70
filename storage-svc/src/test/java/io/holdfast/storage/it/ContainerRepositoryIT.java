package io.holdfast.storage.it;

/** What holds on every S3 server, on one in a container. */
class ContainerRepositoryIT extends RepositoryCases {
    @Override
    Server start() throws Exception {
        return ContainerServer.forTests(base.resolve("container"));
    }
}
