package io.holdfast.storage.domain;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;

import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import org.junit.jupiter.api.Test;

/** The domain must stay testable without a broker, a bucket or a container: it imports none of them. */
class DomainPurityTest {
    @Test
    void domainKnowsNoAdapter() {
        var classes = new ClassFileImporter()
                .withImportOption(new ImportOption.DoNotIncludeTests())
                .importPackages("io.holdfast.storage");

        noClasses()
                .that()
                .resideInAPackage("io.holdfast.storage.domain..")
                .should()
                .dependOnClassesThat()
                .resideInAnyPackage(
                        "io.holdfast.storage.adapter..",
                        "io.holdfast.storage.app..",
                        "io.holdfast.storage.config..",
                        "io.minio..",
                        "okhttp3..",
                        "org.apache.kafka..",
                        "io.smallrye..",
                        "io.quarkus..",
                        "jakarta..",
                        "jnr..",
                        "com.github.luben..")
                .check(classes);
        noClasses()
                .that()
                .resideInAPackage("io.holdfast.storage.app..")
                .should()
                .dependOnClassesThat()
                .resideInAnyPackage(
                        "io.holdfast.storage.adapter..",
                        "io.minio..",
                        "okhttp3..",
                        "org.apache.kafka..",
                        "io.smallrye..",
                        "io.quarkus..",
                        "jakarta..",
                        "jnr..",
                        "com.github.luben..")
                .check(classes);
    }
}
