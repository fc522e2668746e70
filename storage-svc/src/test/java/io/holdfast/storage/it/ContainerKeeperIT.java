package io.holdfast.storage.it;

/** Work on a repository on an S3 server in a container. */
class ContainerKeeperIT extends KeeperIT {
    @Override
    Server start() throws Exception {
        return ContainerServer.forTests(base.resolve("container"));
    }
}
