# Headers, both libraries, the program, and the files by which pkg-config and CMake find them.

include(CMakePackageConfigHelpers)

install(FILES ${LVSA_PUBLIC_HEADERS} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/lvsa)
install(TARGETS lvsa lvsa_static EXPORT lvsa
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
if(LVSA_HAVE_CUDA)
  install(TARGETS lvsa_cuda LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
if(LVSA_HAVE_LIBAV)
  install(TARGETS lvsa_av LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
if(LVSA_HAVE_MPI)
  install(TARGETS lvsa_mpi LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
install(TARGETS lvsa_program RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
if(NOT CMAKE_CROSSCOMPILING)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/lvsa.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/lvsa.bash RENAME lvsa
          DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
endif()

install(EXPORT lvsa NAMESPACE lvsa:: FILE lvsa-targets.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/lvsa)
configure_package_config_file(cmake/lvsa-config.cmake.in lvsa-config.cmake
                              INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/lvsa)
write_basic_package_version_file(lvsa-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/lvsa-config.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/lvsa-config-version.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/lvsa)

file(RELATIVE_PATH LVSA_PC_PREFIX "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
list(TRANSFORM LVSA_LINK_LIBRARIES PREPEND "-l" OUTPUT_VARIABLE LVSA_PC_LIBS_PRIVATE)
list(JOIN LVSA_PC_LIBS_PRIVATE " " LVSA_PC_LIBS_PRIVATE)
configure_file(cmake/lvsa.pc.in lvsa.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/lvsa.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
