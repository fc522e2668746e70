package io.holdfast.coordinator.domain;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;

import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import org.junit.jupiter.api.Test;

/**
 * Decisions know no Kafka, HTTP or framework, no clock and no random numbers: that is why they can be simulated.
 */
class DomainPurityTest {
    private static final JavaClasses CODE = new ClassFileImporter()
            .withImportOption(ImportOption.Predefined.DO_NOT_INCLUDE_TESTS)
            .importPackages("io.holdfast.coordinator");

    @Test
    void domainDependsOnNothingButTheContractAndTheJdk() {
        classes()
                .that()
                .resideInAPackage("io.holdfast.coordinator.domain..")
                .should()
                .onlyDependOnClassesThat()
                .resideInAnyPackage(
                        "io.holdfast.coordinator.domain..",
                        "io.holdfast.schemas..",
                        "com.fasterxml.jackson.annotation..",
                        "com.fasterxml.jackson.databind", // JsonNode of a view
                        "java..")
                .check(CODE);
    }

    @Test
    void domainReadsNoClockAndNoRandomNumbers() {
        noClasses()
                .that()
                .resideInAPackage("io.holdfast.coordinator.domain..")
                .should()
                .callMethod(java.time.Instant.class, "now")
                .orShould()
                .callMethod(System.class, "currentTimeMillis")
                .orShould()
                .callMethod(System.class, "nanoTime")
                .orShould()
                .dependOnClassesThat()
                .areAssignableTo(java.util.Random.class)
                .orShould()
                .dependOnClassesThat()
                .areAssignableTo(java.time.Clock.class)
                .check(CODE);
    }

    @Test
    void adaptersDoNotKnowEachOtherBackwards() {
        noClasses()
                .that()
                .resideInAPackage("io.holdfast.coordinator.adapter.kafka..")
                .should()
                .dependOnClassesThat()
                .resideInAPackage("io.holdfast.coordinator.adapter.rest..")
                .check(CODE);
    }
}
