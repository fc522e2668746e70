package io.holdfast.agent;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;

import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import org.junit.jupiter.api.Test;

/**
 * The ports and the application logic know no Kafka, HTTP, QEMU, native or CDI class, so that they can be tested with
 * plain objects and an adapter can be changed without them.
 */
class DomainPurityTest {
    private static final JavaClasses CLASSES = new ClassFileImporter()
            .withImportOption(new ImportOption.DoNotIncludeTests())
            .importPackages("io.holdfast.agent");

    private static final String[] OUTSIDE = {
        "io.holdfast.agent.adapter..",
        "io.holdfast.agent.config..",
        "io.holdfast.agent.nat..",
        "io.holdfast.agent.net..",
        "io.holdfast.agent.cut..",
        "io.holdfast.agent.qemu..",
        "io.holdfast.agent.image..",
        "io.quarkus..",
        "io.smallrye..",
        "io.micrometer..",
        "io.cloudevents..",
        "io.vertx..",
        "jakarta..",
        "jnr..",
        "org.apache.kafka..",
        "org.eclipse.microprofile.."
    };

    @Test
    void domainKnowsNoAdapterAndNoApplication() {
        noClasses()
                .that()
                .resideInAPackage("io.holdfast.agent.domain..")
                .should()
                .dependOnClassesThat()
                .resideInAnyPackage(OUTSIDE)
                .orShould()
                .dependOnClassesThat()
                .resideInAPackage("io.holdfast.agent.app..")
                .check(CLASSES);
    }

    @Test
    void applicationKnowsOnlyPorts() {
        noClasses()
                .that()
                .resideInAPackage("io.holdfast.agent.app..")
                .should()
                .dependOnClassesThat()
                .resideInAnyPackage(OUTSIDE)
                .check(CLASSES);
    }

    @Test
    void engineRoomsKnowNoBrokerAndNoContainer() {
        noClasses()
                .that()
                .resideInAnyPackage(
                        "io.holdfast.agent.nat..",
                        "io.holdfast.agent.net..",
                        "io.holdfast.agent.cut..",
                        "io.holdfast.agent.qemu..",
                        "io.holdfast.agent.image..")
                .should()
                .dependOnClassesThat()
                .resideInAnyPackage(
                        "io.quarkus..",
                        "io.smallrye..",
                        "jakarta..",
                        "org.apache.kafka..",
                        "io.holdfast.agent.app..",
                        "io.holdfast.agent.adapter..",
                        "io.holdfast.agent.config..")
                .allowEmptyShould(true)
                .check(CLASSES);
    }
}
